-- The tests of the barrier run with the functions of participant.sql in the place of
-- the extension's.  If this fails, the script cannot be run, or run again.
\getenv srcdir PG_ABS_SRCDIR
\set script :srcdir '/sql/participant.sql'
\set ECHO none
-- the second time, it is said of all that it is there
SET client_min_messages = warning;
\i :script
\i :script
