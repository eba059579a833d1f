-- Shared: leases messages of queues in turns (trait 'w'): fair between keys, by age and priority within a key, below all limits.
--
-- New messages stay in their streams; the order is made in the keys of slots.lua. The key with the lowest virtual start is next; each
--       message adds 1 / weight to it (start-time fair queueing). Further keys: 'flow:limits' limit -> its values (JSON), which win over
--       those of messages; 'flow:mover' if keys without values there have no share; 'flow:rates' limit -> theoretical arrival time of its next token (GCRA, ms); 'flow:weights' key -> weight.

local rooms, uses = {}, {}  -- the queues; which keys of flow control there are
local now, settings = nil, {}

local function clock_ms()
  if not now then
    local clock = redis.call('TIME')
    now = clock[1] * 1000 + clock[2] / 1000
  end
  return now
end

-- Returns the values of *limit*, or nil if it does not apply.
local function setting_of(room, limit)
  local known = settings[limit.name]
  if known == nil then
    known = uses.limits and redis.call('HGET', room.prefix .. 'flow:limits', limit.name) or false
    if known then known = select(2, pcall(cjson.decode, known)) end
    if type(known) ~= 'table' then known = false end  -- another program wrote it
    settings[limit.name] = known
  end
  return known or limit.own and uses.mover and string.find(limit.name, '^key:') and {concurrency = 0} or limit.own
end

-- Returns whether *limit* lets no message start, and if it is a rate, when it does (ms).
local function is_full(room, limit)
  local setting = setting_of(room, limit)
  if not setting then return false end
  if setting.paused then return true end
  local most, rate = tonumber(setting.concurrency), tonumber(setting.rate)
  local holders = room.prefix .. 'flow:holders'
  if most and redis.call('ZLEXCOUNT', holders, '[' .. limit.name .. '\0', '(' .. limit.name .. '\1') >= most then return true end
  if rate and rate > 0 then
    local due = (redis.call('ZSCORE', room.prefix .. 'flow:rates', limit.name) or 0) - (tonumber(setting.per_ms) or 1000) / 20
    if due > clock_ms() then return true, due end
  end
  return false
end

-- Records that messages of *room* wait for *limit*.
local function wait_for(room, limit, due)
  redis.call('ZADD', room.prefix .. 'flow:stopped', 0, limit.name .. '\0' .. room.queue)
  uses.stopped = true
  if due then redis.call('ZADD', room.prefix .. 'flow:due', string.format('%.0f', math.ceil(due)), limit.name) end
end

-- After a message with *limits* was handled: lets the next group take turns that waits for one of them, unless it is full.
local function wake_next(room, limits)
  if not uses.stopped then return end
  for _, limit in ipairs(limits) do
    if redis.call('ZSCORE', room.prefix .. 'flow:stopped', limit.name .. '\0' .. room.queue) then
      local full, due = is_full(room, limit)
      if not full then wake_one(room.prefix, room.queue, limit.name) end
      if due then wait_for(room, limit, due) end
    end
  end
end

local function take_token(rates, limit, rate, per_ms)
  local free = math.max(tonumber(redis.call('ZSCORE', rates, limit) or 0), clock_ms())
  redis.call('ZREMRANGEBYSCORE', rates, '-inf', string.format('%.3f', clock_ms()))
  redis.call('ZADD', rates, string.format('%.6f', free + per_ms / rate), limit)
end

-- Gives the message a slot of each of its limits, and takes a token.
local function occupy(room, found)
  local stream, names, applying = room.base .. found.level, {}, {}
  local limits = {unpack(found.limits)}
  limits[#limits + 1] = room.limit
  for _, limit in ipairs(limits) do
    local setting = setting_of(room, limit)
    if setting and not applying[limit.name] then
      applying[limit.name], names[#names + 1] = setting, limit.name
    end
  end
  if #names == 0 then return end
  local record = room.prefix .. '\0' .. found.holder .. '\0' .. table.concat(names, '\0')
  redis.call('HSET', room.base .. 'held', found.level .. found.id, record)  -- first: what is not recorded is never released
  for _, name in ipairs(names) do
    hold(room.prefix, name, found.holder, stream, found.id)
    local rate, per_ms = tonumber(applying[name].rate), tonumber(applying[name].per_ms) or 1000
    if rate and rate > 0 then take_token(room.prefix .. 'flow:rates', name, rate, per_ms) end
  end
end

-- Removes the group from the turns.
local function leave(room, found)
  redis.call('ZREM', room.base .. 'ready', found.ready)
  if found.is_only then
    redis.call('ZADD', room.base .. 'finish', found.start, found.key)  -- the virtual time must not decrease
    redis.call('ZREM', room.base .. 'turns', found.key)
  end
  left.stops = left.stops - 1
end

local function stop_group(room, found, limit, due)
  local place = string.format('%020.6f', found.start)
  redis.call('ZADD', room.base .. 'stopped', 0, table.concat({limit.name, place, found.key, found.names}, '\0'))
  wait_for(room, limit, due)
  leave(room, found)
  wake_next(room, found.limits)
end

-- Returns the limit of *limits* that is full, and when it has a token. The last ones are checked first: they are the message's own.
local function full_one(room, limits)
  for index = #limits, 1, -1 do
    local limit = limits[index]
    if limit.name ~= room.limit.name then  -- which is checked already
      local full, due = is_full(room, limit)
      if full then return limit, due end
    end
  end
end

-- Returns the message whose turn it is, or nil.
local function next_in_turn(room)
  while room.is_read and left.stops > 0 do
    local turn = redis.call('ZRANGE', room.base .. 'turns', 0, 0, 'WITHSCORES')
    if not turn[1] then return nil end
    local full, due = is_full(room, room.limit)
    if full then
      wait_for(room, room.limit, due)
      return nil
    end
    local ready = members(room.base .. 'ready', turn[1], 2)
    local found = {key = turn[1], start = turn[2], ready = ready[1] or '', is_only = not ready[2]}
    found.names = string.match(found.ready, '^[^%z]*%z[^%z]*%z(.*)$') or ''
    found.limits = limits_of(found.names)
    found.member, found.following = unpack(members(room.base .. 'waiting', found.key .. '\0' .. found.names, 2))
    local limit, at = full_one(room, found.limits)
    if not found.member then  -- the queue is being purged
      leave(room, found)
    elseif limit then
      stop_group(room, found, limit, at)
    else
      found.level, found.id, found.holder = string.match(found.member, '^[^%z]*%z[^%z]*%z[^%z]*%z(%d)%z([^%z]*)%z(.*)$')
      return found
    end
  end
end

-- Removes a message from the waiting ones, and moves its key to its next turn by *cost*.
local function advance(room, found, cost)
  redis.call('ZREM', room.base .. 'waiting', found.member)
  redis.call('ZREM', room.base .. 'ready', found.ready)
  local finish = string.format('%.17g', found.start + cost)
  if found.following then
    redis.call('ZADD', room.base .. 'ready', 0, found.key .. '\0' .. order_of(found.following) .. '\0' .. found.names)
  end
  if found.following or not found.is_only then
    redis.call('ZADD', room.base .. 'turns', finish, found.key)
  else
    redis.call('ZADD', room.base .. 'finish', finish, found.key)
    redis.call('ZREM', room.base .. 'turns', found.key)
  end
  wake_next(room, found.limits)
end

local function weight_of(room, key)
  if not uses.weights then return 1 end
  local weight = tonumber(redis.call('HGET', room.prefix .. 'flow:weights', key) or 1)
  return weight and weight > 0 and weight or 1
end

-- Finds out which limits there are, and lets groups take turns whose limit has a token again.
local function open_limits(prefix)
  local kinds, keys = {limits = 'hash', weights = 'hash', mover = 'string'}, {}
  for _, name in ipairs({'stopped', 'rates', 'due', 'holders'}) do kinds[name] = 'zset' end
  for name in pairs(kinds) do keys[#keys + 1] = prefix .. 'flow:' .. name end
  if redis.call('EXISTS', unpack(keys)) == 0 then return end
  for name, kind in pairs(kinds) do
    local key = prefix .. 'flow:' .. name
    expect(kind, key)
    uses[name] = kind_of(key) ~= 'none'
  end
  if not uses.due then return end
  local due = prefix .. 'flow:due'
  for _, limit in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', clock_ms(), 'LIMIT', 0, 100)) do
    redis.call('ZREM', due, limit)
    wake(prefix, limit)
  end
end

turns = {next = next_in_turn, advance = advance, occupy = occupy, weight_of = weight_of, queues = {}}

-- Prepares *queue* and reads its new messages, unless none of its streams is to be read. KEYS[1] is the hash of queues.
function turns.open(queue, traits)
  local prefix = string.sub(KEYS[1], 1, -7)
  local room = {prefix = prefix, queue = queue, base = prefix .. 'q:' .. queue .. ':', levels = {}}
  room.limit = {name = 'skill:' .. queue}
  for level in string.gmatch(traits, '%d') do
    local stream = room.base .. level
    if lengths[stream] then room.levels[#room.levels + 1], turns.queues[stream] = level, room end
  end
  if #room.levels == 0 then return end
  if #rooms == 0 then open_limits(prefix) end
  rooms[#rooms + 1] = room
  room.is_read = read_new(room)
end

-- Returns whether the next call has to go on: reading new messages, or looking for one whose limits are not full.
function turns.are_left()
  for _, room in ipairs(rooms) do
    if not room.is_read then return true end
  end
  return left.stops <= 0
end

-- Returns the ms until a limit has a token, or nil.
function turns.due()
  local due = rooms[1] and (uses.limits or uses.stopped)
    and redis.call('ZRANGE', rooms[1].prefix .. 'flow:due', 0, 0, 'WITHSCORES')[2]
  return due and math.max(math.ceil(due - clock_ms()), 1)
end

-- Forgets the virtual finishes of queues without messages, but for the last.
function turns.close()
  for _, room in ipairs(rooms) do
    if redis.call('EXISTS', room.base .. 'turns') == 0 then redis.call('ZREMRANGEBYRANK', room.base .. 'finish', 0, -2) end
  end
end
