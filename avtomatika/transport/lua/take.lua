-- Acknowledges the last batch and takes the next: in the order of KEYS, up to the credit and about half a mebibyte.
--
-- A redelivered entry is returned alone, so that a crash counts only against the entry that caused it.
--
-- KEYS: queues, revoked, bell, the streams to read, the streams of the acknowledgements.
-- ARGV: consumer, credit, number of streams, number of queues, their names, their known traits, then per acknowledged stream
--       the number of its entries and the entries.
-- Returns {'TRAITS', traits of each queue...} if they changed (nothing was taken);
--         {'EMPTY', last id of the bell, last delivered id of each stream, '0-0' if the stream is empty...};
--         {'OK', (index of the stream from 1, id, payload or '', earlier deliveries)...}, and nothing was left;
--         {'MORE', as OK...} if something may have been left.

local consumer, credit = ARGV[1], tonumber(ARGV[2])
local streams, queues = tonumber(ARGV[3]), tonumber(ARGV[4])

expect('zset', KEYS[2])
local lengths = {}  -- XLEN checks the types of all streams before one is read
for place = 1, streams do lengths[place] = redis.call('XLEN', KEYS[3 + place]) end
local traits = redis.call('HMGET', KEYS[1], unpack(ARGV, 5, 4 + queues))
acknowledge(5 + 2 * queues, 4 + streams, consumer)
for index = 1, queues do
  if (traits[index] or '') ~= ARGV[4 + queues + index] then
    local answer = {'TRAITS'}
    for place = 1, queues do answer[place + 1] = traits[place] or '' end
    return answer
  end
end

local answer, taken = {'OK'}, 0
local room, largest = 524288, 1  -- bytes left for payloads; largest payload so far
local any_revoked = known_types[KEYS[2]] ~= 'none'

local function read(stream, count)
  local reply = redis.pcall('XREADGROUP', 'GROUP', 'avt', consumer, 'COUNT', count, 'STREAMS', stream, '>')
  if reply and reply.err then
    if not string.find(reply.err, 'NOGROUP', 1, true) then error(reply) end
    redis.call('XGROUP', 'CREATE', stream, 'avt', '0', 'MKSTREAM')
    reply = redis.call('XREADGROUP', 'GROUP', 'avt', consumer, 'COUNT', count, 'STREAMS', stream, '>')
  end
  return reply and reply[1][2] or {}
end

local function id_before(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  if seq ~= '0' then return string.format('%s-%.0f', ms, seq - 1) end
  return string.format('%.0f-18446744073709551615', ms - 1)
end

-- Undoes reading entries[first..]; only valid for entries read by this call.
local function unread(stream, entries, first)
  if first > #entries then return end
  redis.call('XGROUP', 'SETID', stream, 'avt', id_before(entries[first][1]))
  for index = first, #entries do redis.call('XACK', stream, 'avt', entries[index][1]) end
end

-- Adds entries to the answer; returns true if the batch is complete.
local function add(place, stream, entries)
  for index = 1, #entries do
    local id = entries[index][1]
    local payload, group, earlier, expires = read_fields(entries[index][2])
    if is_over(expires) or any_revoked and is_revoked(KEYS[2], stream, id, group) then
      finish(stream, {id})
    else
      local alone = earlier > 0
      if alone and taken > 0 then
        unread(stream, entries, index)
        return true
      end
      local size = #answer
      answer[size + 1], answer[size + 2], answer[size + 3], answer[size + 4] = place, id, payload or '', earlier
      taken = taken + 1
      room, largest = room - #answer[size + 3], math.max(largest, #answer[size + 3])
      if alone then
        unread(stream, entries, index + 1)
        return true
      end
    end
  end
  return false
end

local full = credit < 1
for place = 1, streams do
  local stream, count = KEYS[3 + place], 1  -- one at first: it may have to be returned alone
  while not full and lengths[place] > 0 do
    local entries = read(stream, count)
    full = add(place, stream, entries) or taken >= credit or room <= 0
    if #entries < count then break end
    count = math.max(math.min(credit - taken, 32, math.floor(room / largest)), 1)
  end
  if full then break end
end
if taken > 0 then
  if full then answer[1] = 'MORE' end
  return answer
end

local rung = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
answer = {'EMPTY', rung and rung[1] or '0-0'}
for place = 1, streams do
  answer[2 + place] = '0-0'
  if lengths[place] > 0 then
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[3 + place])) do
      if group[2] == 'avt' then answer[2 + place] = group[8] end
    end
  end
end
return answer
