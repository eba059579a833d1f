-- Removes one job whose time has come, with all that belongs to it; checks again that it has.
--
-- KEYS: retention, the job's own keys, then the indexes.    ARGV: job id, how many keys are its own.
-- Answers 1 where it went.

local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
local clock = redis.call('TIME')
if not due or tonumber(due) > clock[1] * 1000 + math.floor(clock[2] / 1000) then return 0 end
local own = tonumber(ARGV[2])
for index = 2, own + 1 do redis.call('UNLINK', KEYS[index]) end
for index = own + 2, #KEYS do redis.call('ZREM', KEYS[index], ARGV[1]) end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
