/*
 * config.h
 *		Options: from flags, the environment, and a file, in this order.
 */
#ifndef GW_CONFIG_H
#define GW_CONFIG_H

#include <stdbool.h>

#define MAX_LISTENERS	16
#define MAX_HOSTS		64
#define MAX_NODES		256

typedef struct Config
{
	char	   *conninfo;
	char	   *nodes[MAX_NODES];	/* conninfo of others */
	int			nnodes;
	char	   *listen[MAX_LISTENERS];
	int			nlisten;
	char	   *page[MAX_LISTENERS];
	int			npage;
	char	   *hba;			/* a file; NULL: the default */
	bool		insecure;
	char	   *hosts[MAX_HOSTS];
	int			nhosts;
	char	   *certificate;
	char	   *key;
	char	   *ca;
	int			sessions;
	int			batch;
	int			max_body;		/* kB */
	int			max_connections;
	int			max_per_address;
	int			rate;
	int			max_in_flight;
	int			max_in_flight_per_address;
	int			queue_time;		/* ms */
	int			batch_time;		/* s, as are all below */
	int			wait_time;
	int			head_time;
	int			body_time;
	int			idle_time;
	int			max_age;
	int			stop_time;
	char	   *log_level;
} Config;

/*
 * Reads all of them.  Returns what is wrong, which is to be freed; NULL: nothing
 * is.  Ends the program for --help and --version.
 */
extern char *config_read(Config *config, int argc, char **argv);
extern void config_free(Config *config);

/*
 * A variable of the environment that is named as an option that there is not, which
 * is to be freed; NULL: there is none.
 */
extern char *config_unknown_variable(void);

/* A whole file as a string; NULL: it can't be read (errno). */
extern char *config_read_file(const char *name);

#endif							/* GW_CONFIG_H */
