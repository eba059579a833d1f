-- Takes over one entry that nobody renewed for a lease, and with it any number that are to be buried.
--
-- KEYS: beat, revoked, then streams.
-- ARGV: consumer, lease (ms), most deliveries, how long a consumer that is connected may be blocked (ms), what its channel's name
--       begins with, then the cursor of each stream.
-- Answers {1 where there is more to sweep at once, new cursors..., (place of the stream from 1, id, payload or '', earlier
--          deliveries)...}; at most one of the entries may still be delivered, and it is the last.

local consumer, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, presence = tonumber(ARGV[4]), ARGV[5]
local streams = #KEYS - 2
expect('hash', KEYS[1])
expect('zset', KEYS[2])
local now, resume = beat(KEYS[1], lease)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))

local answer = {0}
for place = 1, streams do answer[1 + place] = ARGV[5 + place] end
if now < resume then return answer end

-- One entry at most: answers whether it may be delivered.
local function claim(place, stream, claimed)
  local id = claimed[1]
  local payload, group, earlier, expires = read_fields(claimed[2])
  if is_over(expires) or is_revoked(KEYS[2], stream, id, group) then
    finish(stream, {id})
    return false
  end
  earlier = earlier + redis.call('XPENDING', stream, 'avt', id, id, 1)[1][4] - 1
  local size = #answer
  answer[size + 1], answer[size + 2], answer[size + 3], answer[size + 4] = place, id, payload or '', earlier
  return earlier < most
end

-- Of consumers of *stream* that hold something: the names of those that are not blocked, and whether any other is. One is blocked
-- that has not been heard of for a lease, and is connected all the same.
local function unblocked(stream)
  local names, silent, channels = {}, {}, {}
  local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, 'avt')
  for _, each in ipairs(consumers.err and {} or consumers) do
    local name, pending, idle = each[2], each[4], each[6]
    if pending > 0 and idle > lease and idle < longest then
      silent[#silent + 1], channels[#channels + 1] = name, presence .. name
    elseif pending > 0 then
      names[#names + 1] = name
    end
  end
  if #silent == 0 then return names, false end
  local subscribers = redis.pcall('PUBSUB', 'NUMSUB', unpack(channels))
  local are_any = false
  for index, name in ipairs(silent) do
    if not subscribers.err and tonumber(subscribers[2 * index]) > 0 then
      are_any = true
    else
      names[#names + 1] = name
    end
  end
  return names, are_any
end

-- The next entry of *stream* whose lease has lapsed, and the cursor behind it; '0-0' where there is no other.
local function claim_any(stream, cursor)
  local found = redis.pcall('XAUTOCLAIM', stream, 'avt', consumer, lease, cursor, 'COUNT', 1)
  if found.err then return nil, '0-0' end
  return found[2][1], found[1]
end

-- The same of what *names* hold.
local function claim_of(stream, names)
  for _, name in ipairs(names) do
    local pending = redis.call('XPENDING', stream, 'avt', 'IDLE', lease, '-', '+', 1, name)[1]
    if pending then return redis.call('XCLAIM', stream, 'avt', consumer, lease, pending[1])[1], '0-1' end
  end
  return nil, '0-0'
end

local steps = 200  -- of ten pending entries each: what one call may look at
for place = 1, streams do
  local stream, cursor = KEYS[2 + place], answer[1 + place]
  local names, are_blocked = unblocked(stream)
  repeat
    local found
    if are_blocked then
      found, cursor = claim_of(stream, names)
    else
      found, cursor = claim_any(stream, cursor)
    end
    answer[1 + place] = cursor
    steps = steps - 1
    if found and claim(place, stream, found) or steps == 0 then
      answer[1] = 1
      return answer
    end
  until cursor == '0-0'
end
return answer
