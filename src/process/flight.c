/*
 * flight.c
 *		A flight recorder; see flight.h.
 *
 * Each start of the server makes the file anew, with the pending records of the
 * existing one.  Base backups leave out its directory.  A file of another data
 * directory, server or version, or a damaged one, is ignored.  If no file can be
 * made, memory of the postmaster replaces it; that is lost when the postmaster dies.
 *
 * There are no locks:
 *
 * 1. The live record of a local worker is written by its coordinator and by the
 *    worker itself, in turns that the mutex of the worker orders (local/place.c).
 *    That of a coordinator is written by the coordinator alone.
 * 2. Pending records are added while the postmaster is the only process.
 * 3. A pending record is removed by the coordinator that has the lease of its
 *    transaction, or when its database or extension has been dropped.
 */
#include "flight.h"

#include "compat.h"

#include "access/xlog.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLIGHT_FILE		PG_STAT_TMP_DIR "/dtm_flight"
#define FLIGHT_NEW_FILE	FLIGHT_FILE ".new"

/* Changes when the file does. */
#define FLIGHT_MAGIC	0x64746d46
#define FLIGHT_VERSION	1

/* A file with more is not one of ours. */
#define MAX_PLACES		262143

/* A file that is made with the data directory, and never replaced. */
#define BORN_WITH_IT	"PG_VERSION"

/* Records of crashes, for each place; those of databases that are not looked at. */
#define PENDING_PER_PLACE	4

typedef struct FlightFile
{
	uint32		magic;
	uint32		version;
	uint32		record_size;
	uint32		nplaces;		/* max_worker_processes */
	uint64		system_identifier;
	uint64		inode;			/* of the data directory's PG_VERSION */
	int64		birth;			/* the same, in ns; 0: not known */

	/*
	 * functions[nplaces], turns[nplaces], pending[nplaces *
	 * PENDING_PER_PLACE]
	 */
	FlightRecord records[FLEXIBLE_ARRAY_MEMBER];
} FlightFile;

static FlightFile *flight = NULL;

static int64 no_transaction;
int64	   *flight_current = &no_transaction;

/* The record of this process. */
static FlightRecord *volatile my_record = NULL;

static shmem_startup_hook_type previous_startup_hook = NULL;

/* ---------- the file ---------- */

static Size
nrecords(uint32 nplaces)
{
	return (Size) nplaces * (2 + PENDING_PER_PLACE);
}

static Size
size_of(uint32 nplaces)
{
	return offsetof(FlightFile, records) + nrecords(nplaces) * sizeof(FlightRecord);
}

static FlightRecord *
function_record(int place)
{
	return &flight->records[place];
}

static FlightRecord *
turn_record(int slot)
{
	return &flight->records[flight->nplaces + slot];
}

static FlightRecord *
pending_record(int i)
{
	return &flight->records[2 * flight->nplaces + i];
}

static int
npending(void)
{
	return (int) flight->nplaces * PENDING_PER_PLACE;
}

/* The header that a file of this server has.  False: there is none to be had. */
static bool
make_header(FlightFile *header)
{
	struct statx status;

	memset(header, 0, offsetof(FlightFile, records));
	if (statx(AT_FDCWD, BORN_WITH_IT, 0, STATX_INO | STATX_BTIME, &status) != 0)
		return false;
	header->magic = FLIGHT_MAGIC;
	header->version = FLIGHT_VERSION;
	header->record_size = sizeof(FlightRecord);
	header->nplaces = (uint32) max_worker_processes;
	header->system_identifier = GetSystemIdentifier();
	header->inode = status.stx_ino;
	if (status.stx_mask & STATX_BTIME)
		header->birth = status.stx_btime.tv_sec * INT64CONST(1000000000) +
			status.stx_btime.tv_nsec;
	return true;
}

/* The same server and layout?  The number of places may have changed. */
static bool
is_ours(const FlightFile *file, const FlightFile *header)
{
	return file->magic == header->magic && file->version == header->version &&
		file->record_size == header->record_size &&
		file->system_identifier == header->system_identifier &&
		file->inode == header->inode && file->birth == header->birth &&
		file->nplaces > 0 && file->nplaces <= MAX_PLACES;
}

static bool
read_all(int fd, void *buffer, Size size)
{
	return read(fd, buffer, size) == (ssize_t) size;
}

/* The file of a former start, if it is to be believed; else NULL. */
static FlightFile *
read_file(const FlightFile *header)
{
	int			fd = open(FLIGHT_FILE, O_RDONLY | O_CLOEXEC);
	FlightFile	start;
	FlightFile *file = NULL;
	struct stat status;

	if (fd < 0)
		return NULL;
	if (fstat(fd, &status) == 0 &&
		read_all(fd, &start, offsetof(FlightFile, records)) &&
		is_ours(&start, header) && status.st_size == (off_t) size_of(start.nplaces))
	{
		file = malloc(size_of(start.nplaces));
		if (file != NULL &&
			(lseek(fd, 0, SEEK_SET) != 0 ||
			 !read_all(fd, file, size_of(start.nplaces))))
		{
			free(file);
			file = NULL;
		}
	}
	close(fd);
	return file;
}

/*
 * A file of zeros, mapped; NULL, with errno, if there can't be one.  It is
 * written, not only made long: a hole would have to find room on the disk when
 * memory is stored to, and the process that does so could not be told.
 */
static FlightFile *
map_file(Size size)
{
	int			fd = open(FLIGHT_NEW_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
						  pg_file_create_mode);
	static const char zeros[8192];
	void	   *map = MAP_FAILED;
	bool		written = fd >= 0;
	int			error;

	for (Size done = 0; written && done < size; done += Min(sizeof(zeros), size - done))
	{
		Size		n = Min(sizeof(zeros), size - done);
		ssize_t		result = write(fd, zeros, n);

		written = result == (ssize_t) n;
		if (!written && result >= 0)
			errno = ENOSPC;
	}
	if (written)
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map != MAP_FAILED && rename(FLIGHT_NEW_FILE, FLIGHT_FILE) != 0)
	{
		error = errno;
		munmap(map, size);
		map = MAP_FAILED;
		errno = error;
	}
	error = errno;
	if (fd >= 0)
		close(fd);
	if (map == MAP_FAILED)
		(void) unlink(FLIGHT_NEW_FILE);
	errno = error;
	return map == MAP_FAILED ? NULL : map;
}

static void
create(const FlightFile *header)
{
	Size		size = size_of(header->nplaces);

	flight = map_file(size);
	if (flight == NULL)
	{
		void	   *map;

		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not create file \"%s\": %m", FLIGHT_FILE),
				 errdetail("After a crash of the postmaster, dtm will not know which functions were running.")));
		map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (map == MAP_FAILED)
			return;
		flight = map;
	}
	memcpy(flight, header, offsetof(FlightFile, records));
}

/* ---------- after a crash ---------- */

static bool
is_same(const FlightRecord *a, const FlightRecord *b)
{
	return a->database == b->database && a->kind == b->kind && a->id == b->id &&
		a->op == b->op;
}

/* If there is no room, the oldest goes. */
static void
add_pending(const FlightRecord *record)
{
	FlightRecord *place = NULL;

	if ((record->kind != FLIGHT_FUNCTION && record->kind != FLIGHT_TURN) ||
		record->id <= 0 || !OidIsValid(record->database))
		return;
	for (int i = 0; i < npending(); i++)
	{
		FlightRecord *other = pending_record(i);

		if (is_same(other, record))
			return;
		if (place == NULL ||
			(place->kind != FLIGHT_NONE &&
			 (other->kind == FLIGHT_NONE || other->started < place->started)))
			place = other;
	}
	if (place != NULL)
		*place = *record;
}

/* Was it running, and not told to quit because of another process? */
static bool
is_suspect(const FlightRecord *record)
{
	return record->kind != FLIGHT_NONE && record->id != 0 && !record->bystander;
}

/*
 * What was running when the server crashed is pending from now on.  Where nobody
 * is suspected, each function may have been it: one that sends the signal itself,
 * or kills another process.
 */
static void
note_crash(const FlightRecord *live, Size n)
{
	bool		suspects = false;

	for (Size i = 0; i < n; i++)
		suspects = suspects || is_suspect(&live[i]);
	for (Size i = 0; i < n; i++)
		if (is_suspect(&live[i]) ||
			(!suspects && live[i].kind == FLIGHT_FUNCTION))
			add_pending(&live[i]);
}

static void
open_flight(void)
{
	FlightFile	header;
	FlightFile *former;

	if (!make_header(&header))
		return;
	former = read_file(&header);
	create(&header);
	if (former == NULL)
		return;
	if (flight != NULL)
	{
		const FlightRecord *pending = &former->records[2 * (Size) former->nplaces];

		for (Size i = 0; i < (Size) former->nplaces * PENDING_PER_PLACE; i++)
			add_pending(&pending[i]);
		note_crash(former->records, 2 * (Size) former->nplaces);
	}
	free(former);
}

/* The server starts, or starts over after a crash; no other process is there. */
static void
shmem_startup(void)
{
	if (previous_startup_hook)
		previous_startup_hook();
	if (IsUnderPostmaster)
		return;
	if (flight == NULL)
		open_flight();
	else
	{
		note_crash(flight->records, 2 * (Size) flight->nplaces);
		memset(flight->records, 0, 2 * (Size) flight->nplaces * sizeof(FlightRecord));
	}
}

void
flight_init(void)
{
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
flight_next(int *position, Oid database, FlightRecord *record)
{
	while (flight != NULL && *position < npending())
	{
		*record = *pending_record((*position)++);
		if (record->kind != FLIGHT_NONE && record->database == database)
			return true;
	}
	return false;
}

void
flight_forget(int position)
{
	pending_record(position - 1)->kind = FLIGHT_NONE;
}

void
flight_forget_database(Oid database)
{
	FlightRecord record;
	int			position = 0;

	while (flight_next(&position, database, &record))
		flight_forget(position);
}

/* ---------- while the server runs ---------- */

void
flight_begin_function(int place, Oid database, int64 id, int op)
{
	FlightRecord *record;

	if (flight == NULL)
		return;
	record = function_record(place);
	record->database = database;
	record->id = id;
	record->op = op;
	record->started = GetCurrentTimestamp();
	/* its worker has not come to it */
	record->bystander = true;
	record->kind = FLIGHT_FUNCTION;
}

void
flight_end_function(int place)
{
	if (flight != NULL)
		function_record(place)->kind = FLIGHT_NONE;
}

/* Another process has crashed, or the server is stopped at once. */
static void
told_to_quit(SIGNAL_ARGS)
{
	if (my_record != NULL)
		my_record->bystander = true;
	_exit(2);
}

void
flight_attach_function(int place)
{
	if (flight == NULL)
		return;
	function_record(place)->bystander = false;
	if (my_record != NULL)
		return;
	my_record = function_record(place);
	pqsignal(SIGQUIT, told_to_quit);
}

void
flight_attach_turn(int slot, Oid database)
{
	FlightRecord *record;

	if (flight == NULL)
		return;
	record = turn_record(slot);
	record->database = database;
	record->id = 0;
	record->op = 0;
	record->started = GetCurrentTimestamp();
	record->bystander = false;
	record->kind = FLIGHT_TURN;
	my_record = record;
	flight_current = &record->id;
	pqsignal(SIGQUIT, told_to_quit);
}

void
flight_detach_turn(void)
{
	if (my_record != NULL)
		my_record->kind = FLIGHT_NONE;
	flight_current = &no_transaction;
}
