-- Sends a wish to a job that can still grant it.
--
-- KEYS: job, binding hash, stream of the message.    ARGV: 1 where the job must be quarantined, binding version, payload.
-- Answers {'OK' | 'GONE' | 'REFUSED' | 'REROUTE', status}.

local job = redis.call('HMGET', KEYS[1], 'status', 'final')
if not job[1] then return {'GONE', ''} end
if job[2] == '1' or (ARGV[1] == '1' and job[1] ~= 'quarantined') then return {'REFUSED', job[1]} end
if (redis.call('HGET', KEYS[2], ':version') or '') ~= ARGV[2] then return {'REROUTE', job[1]} end
redis.call('XADD', KEYS[3], '*', 'p', ARGV[3])
return {'OK', job[1]}
