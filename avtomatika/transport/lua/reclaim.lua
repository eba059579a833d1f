-- Reclaims one entry whose lease has expired, and any number that are to be dead-lettered.
--
-- KEYS: beat, revoked, queues, then streams.
-- ARGV: consumer, lease (ms), maximum deliveries, lease of a connected but blocked consumer (ms), prefix of liveness channels,
--       then the cursor of each stream, then its queue.
-- Returns {ms after which the scan should continue (0: immediately, -1: at the next interval), new cursors..., (index of the
--       stream from 1, id, payload or '', earlier deliveries)...}; at most one of the entries is deliverable, and it is the last.

local consumer, lease, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local longest, presence = tonumber(ARGV[4]), ARGV[5]
local streams = #KEYS - 3
expect('hash', KEYS[1])
expect('zset', KEYS[2])
local now, resume = beat(KEYS[1], lease)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))

local answer = {-1}
for place = 1, streams do answer[1 + place] = ARGV[5 + place] end
if now < resume then
  answer[1] = resume - now
  return answer
end
if streams == 0 then return answer end
local traits = redis.call('HMGET', KEYS[3], unpack(ARGV, 6 + streams, 5 + 2 * streams))

-- Adds one entry to the answer; returns whether it is deliverable.
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

-- Among consumers of *stream* with pending entries, returns the names of those that are not blocked, and whether any is blocked:
-- idle for longer than a lease, but connected.
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

-- Returns the next entry of *stream* with an expired lease, and the cursor after it; '0-0' at the end.
local function claim_any(stream, cursor)
  local found = redis.pcall('XAUTOCLAIM', stream, 'avt', consumer, lease, cursor, 'COUNT', 1)
  if found.err then return nil, '0-0' end
  return found[2][1], found[1]
end

-- The same for entries held by *names*.
local function claim_of(stream, names)
  for _, name in ipairs(names) do
    local pending = redis.call('XPENDING', stream, 'avt', 'IDLE', lease, '-', '+', 1, name)[1]
    if pending then return redis.call('XCLAIM', stream, 'avt', consumer, lease, pending[1])[1], '0-1' end
  end
  return nil, '0-0'
end

-- Releases slots of entries that another program deleted.
for place = 1, streams do
  local base = string.sub(KEYS[3 + place], 1, -2)
  local fields = kind_of(base .. 'held') == 'hash' and redis.call('HRANDFIELD', base .. 'held', 10) or {}
  for _, field in ipairs(fields) do
    local stream, id = base .. string.sub(field, 1, 1), string.sub(field, 2)
    if not redis.pcall('XRANGE', stream, id, id)[1] then release(stream, {id}) end
  end
end

local steps = 200  -- limit per call, at ten pending entries each
for place = 1, streams do
  local stream, cursor = KEYS[3 + place], answer[1 + place]
  local is_paused = traits[place] and string.find(traits[place], 'p', 1, true)
  local names, are_blocked = unblocked(stream)
  repeat
    if is_paused then break end
    local found
    if are_blocked then
      found, cursor = claim_of(stream, names)
    else
      found, cursor = claim_any(stream, cursor)
    end
    answer[1 + place] = cursor
    steps = steps - 1
    if found and claim(place, stream, found) or steps == 0 then
      answer[1] = 0
      return answer
    end
  until cursor == '0-0'
end
return answer
