/*
 * log.c
 *		Lines on stderr.
 */
#include "log.h"

#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Bytes of a line that are kept. */
#define MAX_LINE	2000

LogLevel	log_level = LOG_LEVEL_INFO;

void
log_line(LogLevel level, const char *format,...)
{
	static const char *const names[] = {"debug", "info", "warning", "error"};
	char		text[MAX_LINE];
	char		stamp[32];
	struct timespec now;
	struct tm	tm;
	Buf			line = {0};
	va_list		args;
	size_t		done = 0;

	if (level < log_level)
		return;
	va_start(args, format);
	(void) vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void) clock_gettime(CLOCK_REALTIME, &now);
	(void) gmtime_r(&now.tv_sec, &tm);
	(void) strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(&line, "%s.%03ldZ dtm-gateway %s: ", stamp, now.tv_nsec / 1000000,
			   names[level]);
	for (const char *c = text; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			buf_printf(&line, "\\x%02x", (unsigned char) *c);
		else
			buf_addc(&line, *c);
	buf_addc(&line, '\n');
	/* one write, so that lines of several processes do not mix */
	while (done < line.len)
	{
		ssize_t		n = write(STDERR_FILENO, line.data + done, line.len - done);

		if (n <= 0)
			break;
		done += (size_t) n;
	}
	buf_free(&line);
}
