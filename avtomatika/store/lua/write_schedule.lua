-- Writes the record of a schedule, if it has not changed since the caller read it.
--
-- KEYS: schedules, schedules by the time of their next check.
-- ARGV: name, the record as it was read ('' if there was none), the new record ('' to delete it), ms of the next check ('' for
--       none), maximum number of schedules.
-- Returns OK, CHANGED, or FULL.

expect('hash', KEYS[1])
expect('zset', KEYS[2])
local name = ARGV[1]
if (redis.call('HGET', KEYS[1], name) or '') ~= ARGV[2] then return 'CHANGED' end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], name)
elseif ARGV[2] == '' and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  return 'FULL'
else
  redis.call('HSET', KEYS[1], name, ARGV[3])
end
if ARGV[4] == '' then redis.call('ZREM', KEYS[2], name) else redis.call('ZADD', KEYS[2], ARGV[4], name) end
return 'OK'
