-- Acknowledges the last batch and takes the next: in the order of KEYS, up to the credit and about half a mebibyte.
--
-- A redelivered entry is returned alone, so that a crash counts only against the entry that caused it.
--
-- KEYS: queues, revoked, bell, the streams to read, the streams of the acknowledgements.
-- ARGV: consumer, credit, number of streams, number of queues, ms of waiting that count like one priority, the names of the queues,
--       their known traits, then per acknowledged stream the number of its entries and the entries.
-- Returns {'TRAITS', traits of each queue...} if they changed (nothing was taken);
--         {'EMPTY', ms until a limit lets a message start or -1, last id of the bell, last delivered id of each stream, '0-0' if the
--           stream is empty...};
--         {'OK', (index of the stream from 1, id, payload or '', earlier deliveries)...}, and nothing was left;
--         {'MORE', as OK...} if something may have been left, also without entries.

local consumer, credit = ARGV[1], tonumber(ARGV[2])
local streams, queues = tonumber(ARGV[3]), tonumber(ARGV[4])

expect('zset', KEYS[2])
local place_of = {}
for place = 1, streams do  -- XLEN checks the types of all streams before one is read
  local stream = KEYS[3 + place]
  lengths[stream], place_of[stream] = redis.call('XLEN', stream), place
end
local traits = redis.call('HMGET', KEYS[1], unpack(ARGV, 6, 5 + queues))
acknowledge(6 + 2 * queues, 4 + streams, consumer)
for index = 1, queues do
  if (traits[index] or '') ~= ARGV[5 + queues + index] then
    local answer = {'TRAITS'}
    for place = 1, queues do answer[place + 1] = traits[place] or '' end
    return answer
  end
end

local answer, taken = {'OK'}, 0
local room, largest = 524288, 1  -- bytes left for payloads; largest payload so far
local any_revoked = known_types[KEYS[2]] ~= 'none'

-- Undoes reading entries[first..]; only valid for entries read by this call.
local function unread(stream, entries, first)
  if first > #entries then return end
  redis.call('XGROUP', 'SETID', stream, 'avt', id_before(entries[first][1]))
  for index = first, #entries do redis.call('XACK', stream, 'avt', entries[index][1]) end
end

local function append(place, id, payload, earlier)
  local size = #answer
  answer[size + 1], answer[size + 2], answer[size + 3], answer[size + 4] = place, id, payload or '', earlier
  taken = taken + 1
  room, largest = room - #answer[size + 3], math.max(largest, #answer[size + 3])
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
      append(place, id, payload, earlier)
      if alone then
        unread(stream, entries, index + 1)
        return true
      end
    end
  end
  return false
end

local function is_complete()
  return taken >= credit or room <= 0
end

-- Reads *stream*; returns true if the batch is complete.
local function take(place, stream)
  local full, count = false, 1  -- one at first: it may have to be returned alone
  while not full and lengths[stream] > 0 do
    local entries = read(stream, count, true)
    full = add(place, stream, entries) or is_complete()
    if #entries < count then break end
    count = math.max(math.min(credit - taken, 32, math.floor(room / largest)), 1)
  end
  return full
end

-- Leases messages of *queue* in turns while the next one has at least priority *level*; returns true if the batch is complete.
local function take_in_turn(queue, level)
  while true do
    local found = turns.next(queue)
    if not found or tonumber(found.level) < level then return false end
    local stream = queue.base .. found.level
    local claimed = lengths[stream]
      and redis.pcall('XCLAIM', stream, 'avt', consumer, 0, found.id, 'RETRYCOUNT', 1, 'FORCE') or {}
    local payload, group, earlier, expires = read_fields(claimed[1] and claimed[1][2] or {})
    if not claimed[1] then  -- it was deleted
      turns.advance(queue, found, 0)
    elseif is_over(expires) or any_revoked and is_revoked(KEYS[2], stream, found.id, group) then
      finish(stream, {found.id})
      turns.advance(queue, found, 0)
    elseif earlier > 0 and taken > 0 then
      redis.call('XACK', stream, 'avt', found.id)
      return true
    else
      append(place_of[stream], found.id, payload, earlier)
      turns.occupy(queue, found)
      turns.advance(queue, found, 1 / turns.weight_of(queue, found.key))
      if earlier > 0 or is_complete() then return true end
    end
  end
end

for index = 1, queues do
  if credit > 0 and turns and string.find(traits[index] or '', 'w', 1, true) then turns.open(ARGV[5 + index], traits[index]) end
end

local full = credit < 1
for place = 1, streams do
  if full then break end
  local stream = KEYS[3 + place]
  local queue = turns and turns.queues[stream]
  if queue then
    full = take_in_turn(queue, tonumber(string.sub(stream, -1)))
  else
    full = take(place, stream)
  end
end
local are_left, due = turns and turns.are_left(), turns and turns.due()
if taken > 0 or are_left then
  if full or due or are_left then answer[1] = 'MORE' end
  return answer
end
if turns then turns.close() end

local rung = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
answer = {'EMPTY', due or -1, rung and rung[1] or '0-0'}
for place = 1, streams do
  answer[3 + place] = '0-0'
  if lengths[KEYS[3 + place]] > 0 then
    for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[3 + place])) do
      if group[2] == 'avt' then answer[3 + place] = group[8] end
    end
  end
end
return answer
