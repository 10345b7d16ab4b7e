/*
 * alert.h
 *		Which errors are one and the same to whoever is told of them.
 *
 * An outage has one cause and many errors, which differ by the order, the time
 * or the port that they name.  Alerts are grouped by what remains without that.
 */
#ifndef DTM_CORE_ALERT_H
#define DTM_CORE_ALERT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Writes the class of an error: its text, but "#" for each word or number with a
 * digit in it, and one blank for blanks and control characters.  Ends with NUL;
 * what does not fit is left out.  Never longer than the text.
 */
extern void dtm_alert_class(const char *text, char *class, size_t size);

/* Does the error of a call without response say that its host is silent? */
extern bool dtm_alert_is_silence(const char *error);

#endif							/* DTM_CORE_ALERT_H */
