/*
 * date.c
 *		Dates in headers of responses (RFC 9110).
 */
#include "core.h"

#include <string.h>

/* The latest that is taken for a time at all: of the year 9999. */
#define MAX_SECONDS		INT64_C(253402300799)

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * Matches a text with a form: "#" is a digit of the next number, "_" a digit or a
 * blank of it, "@" a letter of the month, "a" any letter, and all else is itself.  A
 * number ends with the first character of the form that is no digit of it.
 */
static bool
match(const char *text, size_t len, const char *form, int *numbers, char month[3])
{
	int			n = -1;
	int			nletters = 0;
	bool		in_number = false;

	if (strlen(form) != len)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		bool		is_number = form[i] == '#' || form[i] == '_';
		char		c = text[i];

		if (is_number && !in_number)
			numbers[++n] = 0;
		in_number = is_number;
		if (is_number)
		{
			if (!is_digit(c) && !(form[i] == '_' && c == ' '))
				return false;
			numbers[n] = numbers[n] * 10 + (c == ' ' ? 0 : c - '0');
		}
		else if (form[i] == '@')
			month[nletters++] = c;
		else if (form[i] == 'a' ? !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) : c != form[i])
			return false;
	}
	return true;
}

/* From 1; 0: there is no such month. */
static int
month_of(const char letters[3])
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int i = 0; i < 12; i++)
		if (memcmp(months + 3 * i, letters, 3) == 0)
			return i + 1;
	return 0;
}

static int
days_in(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool		leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/* Days from 1970-01-01 to a day of the Gregorian calendar. */
static int64_t
days_of(int year, int month, int day)
{
	int64_t		y = month <= 2 ? year - 1 : year;
	int64_t		era = y / 400;
	int64_t		year_of_era = y - era * 400;
	int64_t		day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
		day_of_year - 719468;
}

/* A year of two digits is the one that is next to now. */
static int
whole_year(int year, int64_t now)
{
	int			this_year = (int) (1970 + now / 31556952);

	year += this_year / 100 * 100;
	if (year > this_year + 50)
		return year - 100;
	return year < this_year - 49 ? year + 100 : year;
}

/* Seconds of the Unix epoch; -1: it is no date.  All three forms are in use. */
static int64_t
date_of(const char *value, size_t len, int64_t now)
{
	static const char fixed[] = "aaa, ## @@@ #### ##:##:## GMT";
	static const char asctime[] = "aaa @@@ _# ##:##:## ####";
	static const char rfc850[] = ", ##-@@@-## ##:##:## GMT";
	const char *comma = memchr(value, ',', len);
	size_t		rest = comma != NULL ? len - (size_t) (comma - value) : 0;
	int			n[5] = {0};
	int			clock = 2;		/* where the hour is in n */
	int			day;
	int			year;
	int			month;
	char		letters[3];

	if (match(value, len, fixed, n, letters))
		year = n[1];
	else if (match(value, len, asctime, n, letters))
	{
		clock = 1;
		year = n[4];
	}
	else if (comma != NULL && match(comma, rest, rfc850, n, letters))
		year = whole_year(n[1], now);
	else
		return -1;
	day = n[0];
	month = month_of(letters);
	if (month == 0 || year < 1970 || day < 1 || day > days_in(year, month) ||
		n[clock] > 23 || n[clock + 1] > 59 || n[clock + 2] > 60)
		return -1;
	return days_of(year, month, day) * 86400 + n[clock] * 3600 +
		n[clock + 1] * 60 + n[clock + 2];
}

int64_t
dtm_retry_after(const char *value, size_t len, int64_t now)
{
	int64_t		seconds = 0;
	size_t		i = 0;

	for (; i < len && is_digit(value[i]); i++)
		if (seconds < MAX_SECONDS)
			seconds = seconds * 10 + (value[i] - '0');
	if (i == 0 || i < len)
		seconds = date_of(value, len, now) - now;
	if (seconds > MAX_SECONDS)
		return MAX_SECONDS;
	return seconds > 0 ? seconds : 0;
}
