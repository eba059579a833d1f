-- Sets a limit or removes it, pauses it or resumes it, and lets messages start that waited for it. A new limit counts the messages that
-- run already.
--
-- KEYS: queues, bell, limits of flow control, the last mover of shares.
-- ARGV: limit; 'set', 'lower' (the same, but nothing may start), 'pause', 'remove', 'resume' or 'look'; its values (JSON) or who pauses
--       it; the mover or ''; the one that must be the last, '-' for none, '' for any; ms of the next token of a rate or ''.
-- Returns {1, or 0 if it was not set or not paused; number running; ms of the next token or ''}; nil after another mover.

expect('stream', KEYS[2])
if ARGV[5] ~= '' and (redis.call('GET', KEYS[4]) or '-') ~= ARGV[5] then return false end
local prefix, known = string.sub(KEYS[1], 1, -7), redis.call('HGET', KEYS[3], ARGV[1])
for _, name in ipairs({'stopped', 'due', 'holders', 'rates'}) do expect('zset', prefix .. 'flow:' .. name) end
local values, action, rates = known and cjson.decode(known) or {}, ARGV[2], prefix .. 'flow:rates'

local function answer(is_changed)
  if ARGV[4] ~= '' then redis.call('SET', KEYS[4], ARGV[4]) end
  local running = redis.call('ZLEXCOUNT', prefix .. 'flow:holders', '[' .. ARGV[1] .. '\0', '(' .. ARGV[1] .. '\1')
  return {is_changed, running, redis.call('ZSCORE', rates, ARGV[1]) or ''}
end

if action == 'look' or action == 'resume' and not values.paused or action == 'remove' and not known then return answer(0) end

local function is_empty(table) return next(table) == nil end

-- Returns whether an entry of *queue* has the limit, and who holds its slots.
local function has_limit(queue, fields)
  local payload, groups = read_fields(fields)
  local _, limits = flow_of(payload or '')
  local found = ARGV[1] == 'skill:' .. queue
  for _, limit in ipairs(limits_of(limits)) do found = found or limit.name == ARGV[1] end
  return found, string.match(groups or '', '[^%s%z\1]*$')
end

-- Gives slots of the limit to the messages that run already, up to 1000 of each priority.
local function count_running(queue, traits)
  local base = prefix .. 'q:' .. queue .. ':'
  for level in string.gmatch(traits, '%d') do
    local pending = redis.pcall('XPENDING', base .. level, 'avt', '-', '+', 1000)
    for _, leased in ipairs(pending.err and {} or pending) do
      local id, field = leased[1], level .. leased[1]
      local entry = redis.call('XRANGE', base .. level, id, id)[1]
      local found, holder = has_limit(queue, entry and entry[2] or {})
      if entry and found then
        local known = redis.call('HGET', base .. 'held', field) or prefix .. '\0' .. holder
        if not string.find(known .. '\0', '\0' .. ARGV[1] .. '\0', #prefix + #holder + 2, true) then
          redis.call('HSET', base .. 'held', field, known .. '\0' .. ARGV[1])
        end
        hold(prefix, ARGV[1], holder, base .. level, id)
      end
    end
  end
end

if action == 'pause' then
  local clock = redis.call('TIME')
  values.paused_ms = values.paused_ms or clock[1] * 1000 + math.floor(clock[2] / 1000)
  values.paused = values.paused or ARGV[3]
elseif action == 'resume' then
  values.paused, values.paused_ms = nil, nil
else
  local paused, paused_ms = values.paused, values.paused_ms
  values = action == 'remove' and {} or cjson.decode(ARGV[3])
  values.paused, values.paused_ms = paused, paused_ms
end
if is_empty(values) then
  redis.call('HDEL', KEYS[3], ARGV[1])
else
  redis.call('HSET', KEYS[3], ARGV[1], cjson.encode(values))
  known = known or values.total and values.source == ''  -- what messages say is counted
  local queues = known and values.total and {} or redis.call('HGETALL', KEYS[1])
  for index = 1, #queues, 2 do
    local traits = queues[index + 1]
    if string.find(traits, 'x', 1, true) then
      if not known then count_running(queues[index], traits) end
      if not string.find(traits, 'w', 1, true) then redis.call('HSET', KEYS[1], queues[index], traits .. 'w') end
    end
  end
end
if ARGV[6] ~= '' then redis.call('ZADD', rates, 'GT', ARGV[6], ARGV[1]) end
if action ~= 'lower' then wake(prefix, ARGV[1]) end
redis.call('XADD', KEYS[2], 'MAXLEN', 1, '*', 'limit', ARGV[1])
return answer(1)
