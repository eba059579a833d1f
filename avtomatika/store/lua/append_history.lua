-- Appends to the history of an existing job without changing its version.
--
-- KEYS: job, history.    ARGV: history entry.

local version = redis.call('HGET', KEYS[1], 'v')
if not version then return 0 end
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
redis.call('RPUSH', KEYS[2], version .. ' ' .. now .. ' ' .. ARGV[1])
return 1
