-- Publishes messages and acknowledges entries: everything, or nothing.
--
-- KEYS: queues, bell, binding hashes looked at, then for each message its stream, or where it is delayed its queue's sorted set of
--       delays and hash of delayed messages; then the stream of each acknowledged entry.
-- ARGV: consumer, number of binding hashes, number of messages, versions of the bindings, then for each message queue, level,
--       payload, group or '', delay in ms or '', length of a fanout's stream or ''; then the entries.
-- Answers {'OK'} | {'REROUTE'} | {'LOST', places of the entries from 1...}.

local consumer, exchanges, messages = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local first = 4 + exchanges
local entries = first + 6 * messages

local key = 3 + exchanges
local places = {}
for index = 1, messages do
  places[index] = key
  key = key + (ARGV[first + 6 * index - 2] == '' and 1 or 2)
end

local lost = {'LOST'}
for index = entries, #ARGV do
  if not is_held(KEYS[key + index - entries], ARGV[index], consumer) then lost[#lost + 1] = index - entries + 1 end
end
if #lost > 1 then return lost end

for index = 1, exchanges do
  if (redis.call('HGET', KEYS[2 + index], ':version') or '') ~= ARGV[3 + index] then return {'REROUTE'} end
end
for index = 1, messages do
  local base = first + 6 * (index - 1)
  if ARGV[base + 5] == '' then
    local traits = redis.call('HGET', KEYS[1], ARGV[base])
    if not traits or not string.find(traits, ARGV[base + 1], 1, true) then return {'REROUTE'} end
    if ARGV[base + 4] ~= '' and not string.find(traits, 'd', 1, true) then return {'REROUTE'} end
  end
end

local function delay(base, place)
  local clock = redis.call('TIME')
  local due = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[base + 4]
  local member = ARGV[base + 1] .. ':' .. redis.call('HINCRBY', KEYS[place + 1], ':count', 1)
  redis.call('HSET', KEYS[place + 1], member, ARGV[base + 2])
  if ARGV[base + 3] ~= '' then redis.call('HSET', KEYS[place + 1], member .. ':group', ARGV[base + 3]) end
  redis.call('ZADD', KEYS[place], string.format('%.0f', due), member)
  local soonest = redis.call('ZRANGE', KEYS[place], 0, 0)[1]
  if soonest == member then redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'delayed', ARGV[base]) end
end

for index = 1, messages do
  local base, place = first + 6 * (index - 1), places[index]
  if ARGV[base + 4] ~= '' then
    delay(base, place)
  elseif ARGV[base + 5] ~= '' then
    redis.call('XADD', KEYS[place], 'MAXLEN', '~', ARGV[base + 5], '*', 'p', ARGV[base + 2])
  elseif ARGV[base + 3] ~= '' then
    redis.call('XADD', KEYS[place], '*', 'p', ARGV[base + 2], 'g', ARGV[base + 3])
  else
    redis.call('XADD', KEYS[place], '*', 'p', ARGV[base + 2])
  end
end
for index = entries, #ARGV do finish(KEYS[key + index - entries], {ARGV[index]}) end
return {'OK'}
