-- Adds a note to the notes of an existing job.
--
-- KEYS: job, notes.    ARGV: note.

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local clock = redis.call('TIME')
redis.call('LPUSH', KEYS[2], string.format('%.0f %s', clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[1]))
redis.call('LTRIM', KEYS[2], 0, 99)
return 1
