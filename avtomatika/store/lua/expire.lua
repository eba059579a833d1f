-- Removes one job whose time has come, with all that belongs to it; checks again that it has.
--
-- KEYS: retention, job, history, tasks, seen, notes, then the indexes.    ARGV: job id.    Answers 1 where it went.

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
local clock = redis.call('TIME')
if not due or tonumber(due) > clock[1] * 1000 then return 0 end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6])
for index = 7, #KEYS do redis.call('ZREM', KEYS[index], ARGV[1]) end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
