-- Creates a job with its first history entries and its first message, or answers the id that its idempotency key has already.
--
-- KEYS: job, history, retention of idempotency (or the job again where there is no key), binding hash, stream of the first
--       message, then the indexes.
-- ARGV: job id, status, doc, init, binding version, payload, hash of the body ('' without an idempotency key),
--       seconds the idempotency key lives, then the history entries.
-- Answers {'OK', id} | {'EXISTS', id} | {'OTHER_BODY', id} | {'REROUTE', ''}.

if ARGV[7] ~= '' then
  local held = redis.call('GET', KEYS[3])
  if held then
    local hash, id = string.match(held, '^(%S+) (%S+)$')
    return {hash == ARGV[7] and 'EXISTS' or 'OTHER_BODY', id}
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then return {'EXISTS', ARGV[1]} end
if (redis.call('HGET', KEYS[4], ':version') or '') ~= ARGV[5] then return {'REROUTE', ''} end

local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
redis.call('HSET', KEYS[1], 'v', 1, 'status', ARGV[2], 'doc', ARGV[3], 'init', ARGV[4], 'created', now, 'updated', now)
for index = 9, #ARGV do redis.call('RPUSH', KEYS[2], '1 ' .. now .. ' ' .. ARGV[index]) end
for index = 6, #KEYS do redis.call('ZADD', KEYS[index], now, ARGV[1]) end
if ARGV[7] ~= '' then redis.call('SET', KEYS[3], ARGV[7] .. ' ' .. ARGV[1], 'EX', ARGV[8]) end
redis.call('XADD', KEYS[5], '*', 'p', ARGV[6])
return {'OK', ARGV[1]}
