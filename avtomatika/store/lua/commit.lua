-- Commits one step of a job atomically.
--
-- KEYS: job, history, tasks, seen, notes, timers, timer messages, retention, revoked, index of the old status, index of the
--       new, branches, answers of branches, prefix of the statistics, then the binding hashes used for routing, the streams
--       written to, the streams of the causes, and of each child to create: job, history, indexes.
-- ARGV: consumer, expected version, status, doc, retention ms of a finished job, the job's id, 1 if it is final, token of
--       what it waits for ('' if that is not new), 1 if it leaves its fan-out, a new fan-out ('' for none: number of
--       branches, step, prefix of its routing keys; the finished branches are then its own), number of the payload sent only when no branch is left (0 for none),
--       maximum bytes of all answers of a fan-out, then
--       lists, each preceded by its length:
--       binding versions; payloads (text, group or ''); causes (entry, event, task it closes or '', attempt); history entries;
--       timers (name, delay ms or '@' and ms since the epoch, message); names of cancelled timers; opened tasks (task, attempt,
--       result timeout ms or '', timer message or ''); closed tasks; revoked groups; finished branches (number, answer);
--       branches to keep (number, task, 1 if the machine handles its results); children (id, status, doc, init, history entry,
--       number of indexes, number of large values); large values of the children (field, JSON); new large values of the job
--       (field, JSON); fields of large values to delete.
-- Returns {status, state of each cause...}; a cause is live, lost, seen or stale. TOO_LARGE returns {status, bytes}.

local at = 13
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
local revoked, revoked_at = list(1)
local ended, ended_at = list(2)
local kept, kept_at = list(3)
local children, child_at = list(7)
local childs_values, childs_value_at = list(2)
local values, value_at = list(2)
local dropped, dropped_at = list(1)

local stream_key = 14 + bindings
local cause_key = stream_key + payloads
local child_key = cause_key + causes

local function clock_ms()
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000)
end

local function is_held(stream, entry)
  local pending = redis.pcall('XPENDING', stream, 'avt', entry, entry, 1)
  return pending.err == nil and pending[1] ~= nil and pending[1][2] == ARGV[1]
end

-- Runs a command that also checks the type of its key, which the error must name.
local function run(command, kind, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then
    expect(kind, key)
    error(reply)
  end
  return reply
end

local function is_stale(task, attempt)
  return task ~= '' and run('HGET', 'hash', KEYS[3], task) ~= attempt
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

-- Find the causes that are still valid.
local states, live, lost = {}, 0, 0
for index = 1, causes do
  local base = cause_at + 4 * (index - 1)
  local state = 'live'
  if not is_held(KEYS[cause_key + index], ARGV[base]) then
    state, lost = 'lost', lost + 1
  elseif run('HEXISTS', 'hash', KEYS[4], ARGV[base + 1]) == 1 then
    state = 'seen'
  else
    live = live + 1
  end
  states[index] = state
end
if causes > 0 and lost == causes then return answer('LEASE_LOST', states) end

local job = run('HMGET', 'hash', KEYS[1], 'v', 'status', 'final', 'created', 'unique')
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
  -- The step was decided with an invalid cause: reject it, and have it decided again with the rest.
  for index = 1, causes do
    if states[index] == 'stale' then note(index, 'the task is closed, or this is another attempt') end
    if states[index] == 'stale' or states[index] == 'seen' then ack(index) end
  end
  return answer(live == 0 and lost == 0 and 'STALE' or 'CONFLICT', states)
end

for index = 1, bindings do
  if (redis.call('HGET', KEYS[14 + index], ':version') or '') ~= ARGV[binding_at + index - 1] then
    return answer('REROUTE', states)
  end
end

-- Check only the keys that this step writes and has not read: usually few. The first write checks the history.
if ARGV[7] == '' and opened + closed > 0 then expect('hash', KEYS[3]) end
if timers + cancelled > 0 or ARGV[9] == '1' or job[5] then
  expect('zset', KEYS[6])
  expect('hash', KEYS[7])
end
if ARGV[7] ~= '' then expect('zset', KEYS[8]) end
if revoked > 0 then expect('zset', KEYS[9]) end
if KEYS[10] ~= KEYS[11] then expect_keys('zset', 10, 11) end
if ended + kept > 0 or ARGV[9] == '1' or ARGV[10] ~= '' then expect_keys('hash', 12, 13) end
expect_keys('stream', stream_key + 1, cause_key)
-- Most children of a fan-out are in the same indexes: check and write each index once.
local indexed, key = {}, child_key
for base = child_at, child_at + 7 * children - 1, 7 do
  expect('hash', KEYS[key + 1])
  expect('list', KEYS[key + 2])
  for place = key + 3, key + 2 + ARGV[base + 5] do
    if not indexed[KEYS[place]] then expect('zset', KEYS[place]) end
    indexed[KEYS[place]] = indexed[KEYS[place]] or {}
  end
  key = key + 2 + ARGV[base + 5]
end

-- The total size of the answers of a fan-out is limited.
local answered = 0
for index = ended_at, ended_at + 2 * ended - 1, 2 do answered = answered + #ARGV[index + 1] end
if ended > 0 then
  local bytes = (ARGV[10] == '' and tonumber(redis.call('HGET', KEYS[12], 'bytes')) or 0) + answered
  if bytes > tonumber(ARGV[12]) then return {'TOO_LARGE', string.format('%.0f', bytes)} end
end

-- All checks have passed: write.
local now = clock_ms()
local now_text = string.format('%.0f', now)
local version = ARGV[2] + 1
local rows = {}
for index = 1, entries do rows[index] = version .. ' ' .. now_text .. ' ' .. ARGV[entry_at + index - 1] end
for index = 1, entries, 1000 do
  run('RPUSH', 'list', KEYS[2], unpack(rows, index, math.min(index + 999, entries)))
end
if ARGV[7] == '' then
  redis.call('HSET', KEYS[1], 'v', version, 'status', ARGV[3], 'doc', ARGV[4], 'updated', now_text)
else
  redis.call('HSET', KEYS[1], 'v', version, 'status', ARGV[3], 'doc', ARGV[4], 'updated', now_text, 'final', '1')
end
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'wait', ARGV[8]) end
for index = value_at, value_at + 2 * values - 1, 2 do redis.call('HSET', KEYS[1], ARGV[index], ARGV[index + 1]) end
for index = dropped_at, dropped_at + dropped - 1 do redis.call('HDEL', KEYS[1], ARGV[index]) end
if KEYS[10] ~= KEYS[11] then
  redis.call('ZREM', KEYS[10], ARGV[6])
  redis.call('ZADD', KEYS[11], job[4], ARGV[6])
end

local function cancel_timer(name)
  if redis.call('ZREM', KEYS[6], name) == 1 then redis.call('HDEL', KEYS[7], name) end
end

-- Branches: finished ones, then the end of the old fan-out, then a new one with those that have finished before.
local is_joined = false
local function finish_branches()
  for index = ended_at, ended_at + 2 * ended - 1, 2 do redis.call('HSET', KEYS[13], ARGV[index], ARGV[index + 1]) end
  if ended > 0 then
    redis.call('HINCRBY', KEYS[12], 'bytes', answered)
    is_joined = redis.call('HINCRBY', KEYS[12], 'left', -ended) == 0
  end
end
if ARGV[10] == '' then finish_branches() end
if ARGV[9] == '1' then
  local old = redis.call('HMGET', KEYS[12], 'left', 'size', 'step')
  if old[1] and old[1] ~= '0' then
    for number = 1, old[2] do
      local task = ARGV[6] .. '/' .. ARGV[6] .. '.' .. old[3] .. '.' .. number
      for _, which in ipairs({':dispatch', ':result', ':retry'}) do cancel_timer(task .. which) end
    end
  end
  redis.call('DEL', KEYS[3], KEYS[12], KEYS[13])
end
if ARGV[10] ~= '' then
  local size, step, prefix = string.match(ARGV[10], '^(%d+) (%d+) (%S+)$')
  redis.call('HSET', KEYS[12], 'left', size, 'size', size, 'step', step, 'prefix', prefix)
  finish_branches()
end
for index = kept_at, kept_at + 3 * kept - 1, 3 do
  redis.call('HSET', KEYS[12], ARGV[index], ARGV[index + 1])
  if ARGV[index + 2] == '1' then redis.call('HSET', KEYS[12], ARGV[index] .. '/checked', '1') end
end

for index = cancelled_at, cancelled_at + cancelled - 1 do cancel_timer(ARGV[index]) end
for index = timer_at, timer_at + 3 * timers - 1, 3 do
  local due = string.match(ARGV[index + 1], '^@(-?%d+)$') or string.format('%.0f', now + ARGV[index + 1])
  redis.call('ZADD', KEYS[6], due, ARGV[index])
  redis.call('HSET', KEYS[7], ARGV[index], ARGV[index + 2])
end

local until_text = string.format('%.0f', now + ARGV[5])
for index = revoked_at, revoked_at + revoked - 1 do redis.call('ZADD', KEYS[9], until_text, ARGV[index]) end

if ARGV[7] == '' then
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
  redis.call('DEL', KEYS[3], KEYS[4], KEYS[12], KEYS[13])
  if job[5] then leave_line(job[5], ARGV[6], string.sub(KEYS[1], 1, -#ARGV[6] - 1), KEYS[6], KEYS[7]) end
  redis.call('ZADD', KEYS[8], until_text, ARGV[6])
  count_jobs(KEYS[14], ({finished = 1, cancelled = 3})[ARGV[3]] or 2, 1, now)
end

local created = 0
key = child_key
for base = child_at, child_at + 7 * children - 1, 7 do
  local child, indexes, next_value_at = KEYS[key + 1], ARGV[base + 5], childs_value_at + 2 * ARGV[base + 6]
  if redis.call('EXISTS', child) == 0 then
    created = created + 1
    redis.call(
      'HSET', child, 'v', 1, 'status', ARGV[base + 1], 'doc', ARGV[base + 2], 'init', ARGV[base + 3], 'created', now_text,
      'updated', now_text
    )
    for place = childs_value_at, next_value_at - 1, 2 do redis.call('HSET', child, ARGV[place], ARGV[place + 1]) end
    redis.call('RPUSH', KEYS[key + 2], '1 ' .. now_text .. ' ' .. ARGV[base + 4])
    for place = key + 3, key + 2 + indexes do
      local rows = indexed[KEYS[place]]
      rows[#rows + 1], rows[#rows + 2] = now_text, ARGV[base]
    end
  end
  key, childs_value_at = key + 2 + indexes, next_value_at
end
for index, rows in pairs(indexed) do
  for first = 1, #rows, 2000 do redis.call('ZADD', index, unpack(rows, first, math.min(first + 1999, #rows))) end
end
if created > 0 then count_jobs(KEYS[14], 0, created, now) end

for index = 1, payloads do
  local base = payload_at + 2 * (index - 1)
  if index == tonumber(ARGV[11]) and not is_joined then
    -- The commit of the last branch sends it.
  elseif ARGV[base + 1] == '' then
    redis.call('XADD', KEYS[stream_key + index], '*', 'p', ARGV[base])
  else
    redis.call('XADD', KEYS[stream_key + index], '*', 'p', ARGV[base], 'g', ARGV[base + 1])
  end
end
for index = 1, causes do ack(index) end
return answer('OK', states)
