/*
 * log.h
 *		Lines on stderr, one for each event.
 */
#ifndef GW_LOG_H
#define GW_LOG_H

typedef enum LogLevel
{
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_NONE				/* nothing is logged */
} LogLevel;

extern LogLevel log_level;

/*
 * Control characters in what is logged are shown as \xNN: what clients send
 * can't forge a line.
 */
extern void log_line(LogLevel level, const char *format,...)
			__attribute__((format(printf, 2, 3)));

#define log_debug(...)		log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...)		log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...)	log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...)		log_line(LOG_LEVEL_ERROR, __VA_ARGS__)

#endif							/* GW_LOG_H */
