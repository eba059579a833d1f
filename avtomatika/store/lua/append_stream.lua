-- Appends chunks of one run of a task to the stream of its job, in the order of their numbers and each once.
--
-- KEYS: job, tasks, stream, stream state.
-- ARGV: task, attempt, run, maximum bytes of the stream, size of an entry without its data,
-- then for each chunk its number, kind, data, level and ms.
-- Returns 1, or 0 if the job is missing or a later run of the task is known.
--
-- Chunks whose predecessors have not arrived wait in the state. After MAX_WAITING messages the missing ones are
-- considered lost, which a 'dropped' entry marks.

local MAX_WAITING = 64
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
expect('stream', KEYS[3])
local task, attempt, run = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local limit, overhead = tonumber(ARGV[4]), tonumber(ARGV[5])
local current = redis.call('HGET', KEYS[2], task)
if current and current ~= ARGV[2] then return 0 end
local state = redis.call('HMGET', KEYS[4], '=' .. task, 'last', 'bytes', 'open')
local known = state[1] and cjson.decode(state[1])
local last, bytes, open = tonumber(state[2] or 0), tonumber(state[3] or 0), tonumber(state[4] or 0)
if known and (attempt < known.attempt or attempt == known.attempt and run < tonumber(known.run)) then return 0 end

local function append(kind, data, level, ms)
  last, bytes = last + 1, bytes + #data + overhead
  redis.call('XADD', KEYS[3], string.format('%.0f-0', last), 'task', task, 'attempt', ARGV[2], 'kind', kind,
    'data', data, 'level', level, 'ms', ms)
end

local function waiting()
  local numbers, prefix = {}, '+' .. task .. ' '
  for _, name in ipairs(redis.call('HKEYS', KEYS[4])) do
    if string.sub(name, 1, #prefix) == prefix then numbers[#numbers + 1] = tonumber(string.sub(name, #prefix + 1)) end
  end
  table.sort(numbers)
  return numbers
end

local function name_of(number) return '+' .. task .. ' ' .. string.format('%.0f', number) end

if not known or attempt > known.attempt or run > tonumber(known.run) then
  if known then
    append('restart', '', '', ARGV[10] or '0')
    if known.waiting > 0 then
      for _, number in ipairs(waiting()) do redis.call('HDEL', KEYS[4], name_of(number)) end
    end
  end
  if not known or not known.is_open then open = open + 1 end
  known = {attempt = attempt, run = ARGV[3], seq = 0, is_open = true, waiting = 0}
end

local function add(chunks)
  for at = 1, #chunks, 5 do
    local number = tonumber(chunks[at])
    if number > known.seq then
      if number > known.seq + 1 then
        append('dropped', string.format('%.0f', number - known.seq - 1), '', chunks[at + 4])
      end
      known.seq = number
      if chunks[at + 1] ~= 'end' then
        append(chunks[at + 1], chunks[at + 2], chunks[at + 3], chunks[at + 4])
      elseif known.is_open then
        known.is_open, open = false, open - 1
      end
    end
  end
end

local function add_waiting(number)
  local name = name_of(number)
  local text = redis.call('HGET', KEYS[4], name)
  if not text then return false end
  redis.call('HDEL', KEYS[4], name)
  known.waiting = known.waiting - 1
  add(cjson.decode(text))
  return true
end

local chunks = {}
for at = 6, #ARGV do chunks[at - 5] = ARGV[at] end
local first = tonumber(chunks[1])
if first > known.seq + 1 then
  known.waiting = known.waiting + redis.call('HSET', KEYS[4], name_of(first), cjson.encode(chunks))
  if known.waiting > MAX_WAITING then
    for _, number in ipairs(waiting()) do add_waiting(number) end
  end
else
  add(chunks)
  while known.waiting > 0 and add_waiting(known.seq + 1) do end
end

while bytes > limit do
  local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  if not oldest then break end
  bytes = bytes - #oldest[2][8] - overhead
  redis.call('XDEL', KEYS[3], oldest[1])
end
redis.call('HSET', KEYS[4], '=' .. task, cjson.encode(known), 'last', string.format('%.0f', last),
  'bytes', string.format('%.0f', bytes), 'open', open)
return 1
