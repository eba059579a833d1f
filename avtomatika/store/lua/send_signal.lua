-- Sends a signal to a job whose status allows it. Of several equal requests, only the first one is sent.
--
-- KEYS: job, binding hash, stream of the message.
-- ARGV: kind of signal, 1 if the job must be quarantined, ms in which the same signal is rejected, binding version, payload.
-- Returns {'OK' | 'GONE' | 'REFUSED' | 'SENT' | 'REROUTE', status}; SENT: the same signal was sent before.

local mark = 'wish:' .. ARGV[1]
local job = redis.call('HMGET', KEYS[1], 'status', 'final', 'v', mark)
if not job[1] then return {'GONE', ''} end
if job[2] == '1' or (ARGV[2] == '1' and job[1] ~= 'quarantined') then return {'REFUSED', job[1]} end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local version, sent = string.match(job[4] or '', '^(%d+) (%d+)$')
-- A job that was retried and is quarantined again can be retried again.
if sent and now - sent < tonumber(ARGV[3]) and (ARGV[2] ~= '1' or version == job[3]) then return {'SENT', job[1]} end
if (redis.call('HGET', KEYS[2], ':version') or '') ~= ARGV[4] then return {'REROUTE', job[1]} end
redis.call('XADD', KEYS[3], '*', 'p', ARGV[5])
redis.call('HSET', KEYS[1], mark, job[3] .. ' ' .. string.format('%.0f', now))
return {'OK', job[1]}
