-- Records a user's decision on an approval: the first one wins. It is in the history even if the message is lost.
--
-- KEYS: job, binding hash, stream of the message, history.    ARGV: token of the approval, decision to store, binding version,
-- payload, history entry.    Returns {'OK' | 'GONE' | 'OVER' | 'DECIDED' | 'REROUTE', status, or the earlier decision}.

local job = redis.call('HMGET', KEYS[1], 'status', 'wait', 'decided', 'v')
if not job[1] then return {'GONE', ''} end
if job[3] and string.sub(job[3], 1, #ARGV[1] + 1) == ARGV[1] .. ' ' then
  return {'DECIDED', string.sub(job[3], #ARGV[1] + 2)}
end
if job[1] ~= 'waiting_for_human' or job[2] ~= ARGV[1] then return {'OVER', job[1]} end
if (redis.call('HGET', KEYS[2], ':version') or '') ~= ARGV[3] then return {'REROUTE', job[1]} end
expect('stream', KEYS[3])
expect('list', KEYS[4])
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
redis.call('HSET', KEYS[1], 'decided', ARGV[1] .. ' ' .. ARGV[2])
redis.call('RPUSH', KEYS[4], job[4] .. ' ' .. now .. ' ' .. ARGV[5])
redis.call('XADD', KEYS[3], '*', 'p', ARGV[4])
return {'OK', job[1]}
