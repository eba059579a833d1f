-- Publishes messages and acknowledges entries atomically.
--
-- KEYS: queues, bell, limits, binding hashes used, then per message its stream, or if delayed its queue's sorted set of delays
--       and hash of delayed messages; then the stream of each acknowledged entry.
-- ARGV: consumer, number of binding hashes, number of messages, versions of the bindings, then per message queue, priority,
--       payload, group or '', delay in ms or '', time to live in ms or '', maximum length of a fanout's stream or ''; then the
--       entries.
-- Returns {'OK'} | {'REROUTE'} | {'LOST', indexes of the entries from 1...}.

local consumer, exchanges, messages = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local first = 4 + exchanges
local entries = first + 7 * messages

local key = 4 + exchanges
local places = {}
for index = 1, messages do
  places[index] = key
  key = key + (ARGV[first + 7 * index - 3] == '' and 1 or 2)
end

local lost = {'LOST'}
for index = entries, #ARGV do
  if not is_leased(KEYS[key + index - entries], ARGV[index], consumer) then lost[#lost + 1] = index - entries + 1 end
end
if #lost > 1 then return lost end

for index = 1, exchanges do
  if (redis.call('HGET', KEYS[3 + index], ':version') or '') ~= ARGV[3 + index] then return {'REROUTE'} end
end
local traits_of, lives = {}, {}  -- by queue; by message: time to live

for index = 1, messages do
  local base = first + 7 * (index - 1)
  if ARGV[base + 6] == '' then
    local queue = ARGV[base]
    local traits = traits_of[queue] or redis.call('HGET', KEYS[1], queue)
    traits_of[queue] = traits
    if not traits or not string.find(traits, ARGV[base + 1], 1, true) then return {'REROUTE'} end
    if ARGV[base + 4] ~= '' and not string.find(traits, 'd', 1, true) then return {'REROUTE'} end
    lives[index] = time_to_live(KEYS[3], queue, traits, ARGV[base + 5])
  end
  if ARGV[base + 4] == '' then
    if messages > 1 then expect('stream', KEYS[places[index]]) end  -- a single XADD checks it
  else
    expect('zset', KEYS[places[index]])
    expect('hash', KEYS[places[index] + 1])
    expect('stream', KEYS[2])
  end
end

local function delay(base, place, ttl)
  local due = clock_ms() + ARGV[base + 4]
  local member = ARGV[base + 1] .. ':' .. redis.call('HINCRBY', KEYS[place + 1], ':count', 1)
  redis.call('HSET', KEYS[place + 1], member, ARGV[base + 2])
  if ARGV[base + 3] ~= '' then redis.call('HSET', KEYS[place + 1], member .. ':group', ARGV[base + 3]) end
  if ttl then redis.call('HSET', KEYS[place + 1], member .. ':ttl', ttl) end
  redis.call('ZADD', KEYS[place], string.format('%.0f', due), member)
  local soonest = redis.call('ZRANGE', KEYS[place], 0, 0)[1]
  if soonest == member then redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'delayed', ARGV[base]) end
end

for index = 1, messages do
  local base, place, ttl = first + 7 * (index - 1), places[index], lives[index]
  if ARGV[base + 4] ~= '' then
    delay(base, place, ttl)
  elseif ARGV[base + 6] ~= '' then
    redis.call('XADD', KEYS[place], 'MAXLEN', '~', ARGV[base + 6], '*', 'p', ARGV[base + 2])
  elseif ttl then
    local fields = {'p', ARGV[base + 2], 'x', string.format('%.0f', clock_ms() + ttl)}
    if ARGV[base + 3] ~= '' then fields[5], fields[6] = 'g', ARGV[base + 3] end
    redis.call('XADD', KEYS[place], '*', unpack(fields))
  elseif ARGV[base + 3] ~= '' then
    redis.call('XADD', KEYS[place], '*', 'p', ARGV[base + 2], 'g', ARGV[base + 3])
  else
    redis.call('XADD', KEYS[place], '*', 'p', ARGV[base + 2])
  end
end
for index = entries, #ARGV do finish(KEYS[key + index - entries], {ARGV[index]}) end
return {'OK'}
