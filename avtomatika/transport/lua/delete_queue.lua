-- Deletes a queue with its bindings and messages.
--
-- KEYS: queues, limits, expiring, revoked, the keys of the queue (first its delays), then the binding hash of each of its bindings.
-- ARGV: queue, 'expired' or 'empty' to delete it only in that case, number of keys of the queue, then the bindings.
-- Returns 1, or 0 if it was not deleted.

local MOST = 1000  -- entries of a stream that one call reads

local first = 5 + ARGV[3]
expect('hash', KEYS[1])
expect('hash', KEYS[2])
expect_keys('hash', first, #KEYS)
expect_keys('zset', 3, 4)
local must_be_empty = ARGV[2] == 'empty'

local function is_empty()
  for key = 5, first - 1 do
    local kind = redis.call('TYPE', KEYS[key]).ok
    if kind == 'stream' and redis.call('XLEN', KEYS[key]) > 0 then return false end
    if kind == 'zset' and string.find(KEYS[key], ':delays$') and redis.call('ZCARD', KEYS[key]) > 0 then return false end
  end
  return true
end

-- Drops revoked messages at the head of *stream*: without a consumer nothing else does. Returns the number dropped.
local function drop_revoked(stream)
  local ids = {}
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', MOST)) do
    local _, groups = read_fields(entry[2])
    if not is_revoked(KEYS[4], stream, entry[1], groups) then break end
    ids[#ids + 1] = entry[1]
  end
  finish(stream, ids)
  return #ids
end

if ARGV[2] == 'expired' then
  local clock = redis.call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local due = redis.call('ZSCORE', KEYS[3], ARGV[1])
  if not due or tonumber(due) > now then return 0 end
  if redis.call('HEXISTS', KEYS[2], ARGV[1] .. '\tempty') == 1 then
    must_be_empty = true
    local is_done = true
    for key = 5, first - 1 do
      if redis.call('TYPE', KEYS[key]).ok == 'stream' and drop_revoked(KEYS[key]) == MOST then is_done = false end
    end
    if is_done and not is_empty() then
      local unused = redis.call('HGET', KEYS[2], ARGV[1] .. '\texpires') or 0
      redis.call('ZADD', KEYS[3], string.format('%.0f', now + unused), ARGV[1])
    end
  end
end
if must_be_empty and not is_empty() then return 0 end

redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1] .. '\tttl', ARGV[1] .. '\texpires', ARGV[1] .. '\tempty', ARGV[1] .. '\tpaused', ARGV[1] .. '\tkey')
redis.call('ZREM', KEYS[3], ARGV[1])
local base = string.sub(KEYS[5], 1, -7)
for _, field in ipairs(kind_of(base .. 'held') == 'hash' and redis.call('HKEYS', base .. 'held') or {}) do
  release(base .. string.sub(field, 1, 1), {string.sub(field, 2)})
end
for key = 5, first - 1 do redis.call('UNLINK', KEYS[key]) end
for key = first, #KEYS do
  if redis.call('HDEL', KEYS[key], ARGV[key - first + 4]) == 1 then
    redis.call('HSET', KEYS[key], ':version', table.concat(redis.call('TIME'), '.'))
  end
end
return 1
