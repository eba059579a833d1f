-- Quarantines a job whose record cannot be read. The record is not changed.
--
-- KEYS: job, history, index of the status it was read with, index of quarantined jobs.
-- ARGV: the job's id, the status it was read with, history entry.
-- Returns 1 if the job was quarantined.

local job = redis.call('HMGET', KEYS[1], 'v', 'status', 'final', 'created')
if not job[1] or job[2] ~= ARGV[2] or job[2] == 'quarantined' or job[3] == '1' then return 0 end
expect('list', KEYS[2])
expect('zset', KEYS[3])
expect('zset', KEYS[4])
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
local version = string.format('%.0f', (tonumber(job[1]) or 0) + 1)
redis.call('HSET', KEYS[1], 'v', version, 'status', 'quarantined', 'updated', now)
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], tonumber(job[4]) and job[4] or now, ARGV[1])
redis.call('RPUSH', KEYS[2], version .. ' ' .. now .. ' ' .. ARGV[3])
return 1
