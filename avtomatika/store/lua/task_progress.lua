-- Records the progress of a task, if that attempt is open. Does not change the job's version.
--
-- KEYS: tasks.    ARGV: task, attempt, progress, message.    Returns 1, or 0 if that attempt is not open.

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
redis.call('HSET', KEYS[1], ARGV[1] .. '/progress', table.concat({ARGV[2], now, ARGV[3], ARGV[4]}, ' '))
return 1
