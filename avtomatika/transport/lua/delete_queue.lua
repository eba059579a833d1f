-- Deletes a queue with its bindings and messages.
--
-- KEYS: queues, limits, expiring, the keys of the queue, then the binding hash of each of its bindings.
-- ARGV: queue, 'expired' or 'empty' to delete it only in that case, number of keys of the queue, then the bindings.
-- Returns 1, or 0 if it was not deleted.

local first = 4 + ARGV[3]
expect('hash', KEYS[1])
expect('hash', KEYS[2])
expect_keys('hash', first, #KEYS)
expect('zset', KEYS[3])

if ARGV[2] == 'expired' then
  local clock = redis.call('TIME')
  local due = redis.call('ZSCORE', KEYS[3], ARGV[1])
  if not due or tonumber(due) > clock[1] * 1000 + math.floor(clock[2] / 1000) then return 0 end
end

if ARGV[2] == 'empty' then
  for key = 4, 3 + ARGV[3] do
    local kind = redis.call('TYPE', KEYS[key]).ok
    if kind == 'stream' and redis.call('XLEN', KEYS[key]) > 0 then return 0 end
    if kind == 'zset' and redis.call('ZCARD', KEYS[key]) > 0 then return 0 end
  end
end

redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1] .. '\tttl', ARGV[1] .. '\texpires')
redis.call('ZREM', KEYS[3], ARGV[1])
for key = 4, first - 1 do redis.call('UNLINK', KEYS[key]) end
for key = first, #KEYS do
  if redis.call('HDEL', KEYS[key], ARGV[key - first + 4]) == 1 then
    redis.call('HSET', KEYS[key], ':version', table.concat(redis.call('TIME'), '.'))
  end
end
return 1
