-- Commits one step of a job: everything, or nothing.
--
-- KEYS: job, history, tasks, seen, notes, timers, timer messages, retention, revoked, index of the old status, index of the
--       new, then the binding hashes looked at, the streams written to, the streams of the causes.
-- ARGV: consumer, expected version, status, doc, ms until the job goes ('' unless it is over), the job's id, 1 where its
--       messages are to be dropped, then lists, each led by its length:
--       binding versions; payloads (text, group or ''); causes (entry, event, task it closes or '', attempt); history entries;
--       timers (name, delay ms, message); names of cancelled timers; opened tasks (task, attempt, result timeout ms or '',
--       timer message or ''); closed tasks.
-- Answers {word, state of each cause...}; a cause is live, lost, seen or stale.

local at = 8
local function list(width)
  local count = tonumber(ARGV[at])
  local first = at + 1
  at = first + count * width
  return count, first
end

local bindings, binding_at = list(1)
local payloads, payload_at = list(2)
local causes, cause_at = list(4)
local entries, entry_at = list(1)
local timers, timer_at = list(3)
local cancelled, cancelled_at = list(1)
local opened, opened_at = list(4)
local closed, closed_at = list(1)

local stream_key = 11 + bindings
local cause_key = stream_key + payloads

local function clock_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function is_held(stream, entry)
  local pending = redis.pcall('XPENDING', stream, 'avt', entry, entry, 1)
  return pending.err == nil and pending[1] ~= nil and pending[1][2] == ARGV[1]
end

local function is_stale(task, attempt)
  return task ~= '' and redis.call('HGET', KEYS[3], task) ~= attempt
end

local function ack(index)
  local stream, entry = KEYS[cause_key + index], ARGV[cause_at + 4 * (index - 1)]
  redis.call('XACK', stream, 'avt', entry)
  redis.call('XDEL', stream, entry)
end

local function note(index, reason)
  local event = ARGV[cause_at + 4 * (index - 1) + 1]
  if string.sub(event, 1, 7) ~= 'result:' then return end
  local text = cjson.encode({event_type = 'task_result_ignored', reason = reason, event = event})
  redis.call('LPUSH', KEYS[5], string.format('%.0f %s', clock_ms(), text))
  redis.call('LTRIM', KEYS[5], 0, 99)
end

local function answer(word, states)
  table.insert(states, 1, word)
  return states
end

-- Which of the causes still count?
local states, live, lost = {}, 0, 0
for index = 1, causes do
  local base = cause_at + 4 * (index - 1)
  local state = 'live'
  if not is_held(KEYS[cause_key + index], ARGV[base]) then
    state, lost = 'lost', lost + 1
  elseif redis.call('HEXISTS', KEYS[4], ARGV[base + 1]) == 1 then
    state = 'seen'
  else
    live = live + 1
  end
  states[index] = state
end
if causes > 0 and lost == causes then return answer('LEASE_LOST', states) end

local job = redis.call('HMGET', KEYS[1], 'v', 'status', 'final', 'created')
if not job[1] then
  for index = 1, causes do if states[index] ~= 'lost' then ack(index) end end
  return answer('GONE', states)
end
if job[3] == '1' then
  for index = 1, causes do
    if states[index] ~= 'lost' then
      if states[index] == 'live' then note(index, 'the job is ' .. job[2]) end
      ack(index)
    end
  end
  return answer('TERMINAL', states)
end
if causes > 0 and live == 0 then
  for index = 1, causes do if states[index] == 'seen' then ack(index) end end
  return answer('DUP', states)
end
if job[1] ~= ARGV[2] then return answer('CONFLICT', states) end

for index = 1, causes do
  local base = cause_at + 4 * (index - 1)
  if states[index] == 'live' and is_stale(ARGV[base + 2], ARGV[base + 3]) then
    states[index], live = 'stale', live - 1
  end
end
if live < causes then
  -- The step was decided with a cause that does not count: drop it, and have the rest decided again.
  for index = 1, causes do
    if states[index] == 'stale' then note(index, 'the task is closed, or this is another attempt') end
    if states[index] == 'stale' or states[index] == 'seen' then ack(index) end
  end
  return answer(live == 0 and lost == 0 and 'STALE' or 'CONFLICT', states)
end

for index = 1, bindings do
  if (redis.call('HGET', KEYS[11 + index], ':version') or '') ~= ARGV[binding_at + index - 1] then
    return answer('REROUTE', states)
  end
end

-- Where a key holds something foreign this raises, while nothing is written yet.
for index = 1, payloads do redis.call('XLEN', KEYS[stream_key + index]) end

-- From here on everything is written.
local now = clock_ms()
local now_text = string.format('%.0f', now)
local version = ARGV[2] + 1
redis.call('HSET', KEYS[1], 'v', version, 'status', ARGV[3], 'doc', ARGV[4], 'updated', now_text)
for index = entry_at, entry_at + entries - 1 do
  redis.call('RPUSH', KEYS[2], version .. ' ' .. now_text .. ' ' .. ARGV[index])
end
if KEYS[10] ~= KEYS[11] then
  redis.call('ZREM', KEYS[10], ARGV[6])
  redis.call('ZADD', KEYS[11], job[4], ARGV[6])
end

for index = cancelled_at, cancelled_at + cancelled - 1 do
  redis.call('ZREM', KEYS[6], ARGV[index])
  redis.call('HDEL', KEYS[7], ARGV[index])
end
for index = timer_at, timer_at + 3 * timers - 1, 3 do
  redis.call('ZADD', KEYS[6], string.format('%.0f', now + ARGV[index + 1]), ARGV[index])
  redis.call('HSET', KEYS[7], ARGV[index], ARGV[index + 2])
end

if ARGV[5] == '' then
  for index = 1, causes do redis.call('HSET', KEYS[4], ARGV[cause_at + 4 * (index - 1) + 1], version) end
  for index = closed_at, closed_at + closed - 1 do
    redis.call('HDEL', KEYS[3], ARGV[index], ARGV[index] .. '/worker', ARGV[index] .. '/progress', ARGV[index] .. '/limit')
  end
  for index = opened_at, opened_at + 4 * opened - 1, 4 do
    redis.call('HSET', KEYS[3], ARGV[index], ARGV[index + 1])
    if ARGV[index + 2] ~= '' then
      redis.call('HSET', KEYS[3], ARGV[index] .. '/limit', ARGV[index + 2] .. ' ' .. ARGV[index + 3])
    end
  end
else
  redis.call('HSET', KEYS[1], 'final', '1')
  redis.call('DEL', KEYS[3], KEYS[4])
  redis.call('ZADD', KEYS[8], string.format('%.0f', now + ARGV[5]), ARGV[6])
  if ARGV[7] == '1' then redis.call('ZADD', KEYS[9], string.format('%.0f', now + ARGV[5]), ARGV[6]) end
end

for index = 1, payloads do
  local base = payload_at + 2 * (index - 1)
  if ARGV[base + 1] == '' then
    redis.call('XADD', KEYS[stream_key + index], '*', 'p', ARGV[base])
  else
    redis.call('XADD', KEYS[stream_key + index], '*', 'p', ARGV[base], 'g', ARGV[base + 1])
  end
end
for index = 1, causes do ack(index) end
return answer('OK', states)
