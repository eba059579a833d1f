-- Reads figures of the group, whose number does not depend on the number of jobs.
--
-- KEYS: prefix of the statistics, fingerprints of secrets, versions, plans, bindings of tasks, queues with dead letters, then
--       the index of each status.
-- ARGV: age of an old secret (s), age of an old version (ms), format of the key of a queue's dead letters, then the statuses.
-- Returns JSON: at_ms, jobs by status, task_queues, dead_letters by queue, number of secrets, versions, silent_ms (since a plan
--       was announced), and the points of the last hour and day: starts_ms, step_seconds, series.

local WIDTH, WINDOWS, ROW, ROW_BYTES = 10, 144, '>I4I4I4I4I4I4I4', 28

local null = cjson.null
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute = math.floor(now / 60000)
local first = (math.floor(minute / WIDTH) - WINDOWS + 1) * WIDTH
local texts = {}
for window = 0, WINDOWS - 1 do
  local text = redis.pcall('GET', KEYS[1] .. first / WIDTH + window)
  if type(text) == 'string' then texts[window] = text .. string.rep('\0', ROW_BYTES * WIDTH - #text) end
end

-- Returns the numbers of the jobs created, finished, failed and cancelled in the *width* minutes after *from*, counted from
-- *first*; then the averages of running and waiting tasks, and the maximum of the seconds. Null: nothing is known.
local function point(from, width)
  local created, finished, failed, cancelled, running, waiting, longest, samples = 0, 0, 0, 0, 0, 0, 0, 0
  local text, row = texts[math.floor(from / WIDTH)], from % WIDTH
  for place = row, text and row + width - 1 or -1 do
    local a, b, c, d, e, f, g = struct.unpack(ROW, text, place * ROW_BYTES + 1)
    created, finished, failed, cancelled = created + a, finished + b, failed + c, cancelled + d
    if g > 0 then
      samples, running, waiting = samples + 1, running + e - 1, waiting + f - 1
      if g > longest then longest = g end
    end
  end
  if samples == 0 then
    if created + finished + failed + cancelled == 0 then return null, null, null, null, null, null, null end
    return created, finished, failed, cancelled, null, null, null
  end
  running, waiting = math.floor(10 * running / samples + 0.5) / 10, math.floor(10 * waiting / samples + 0.5) / 10
  return created, finished, failed, cancelled, running, waiting, longest - 1
end

local function points(from, count, width)
  local created, finished, failed, cancelled, running, waiting, longest = {}, {}, {}, {}, {}, {}, {}
  for n = 1, count do
    created[n], finished[n], failed[n], cancelled[n], running[n], waiting[n], longest[n] = point(from + (n - 1) * width, width)
  end
  return {
    starts_ms = (first + from) * 60000,
    step_seconds = width * 60,
    series = {
      created = created, finished = finished, failed = failed, cancelled = cancelled,
      running = running, waiting = waiting, oldest_waiting_seconds = longest,
    },
  }
end

-- cjson encodes an empty table as an object, which an array must not be.
local function list(values)
  return #values > 0 and values or cjson.decode('[]')
end

local function jobs()
  local found = {}
  for place = 7, #KEYS do found[ARGV[place - 3]] = redis.call('ZCARD', KEYS[place]) end
  return found
end

local function secrets()
  local found = 0
  for place, at in ipairs(redis.call('HVALS', KEYS[2])) do
    if tonumber(at) > clock[1] - ARGV[1] then found = found + 1 end
  end
  return found
end

local function task_queues()
  local found = {}
  for _, binding in ipairs(redis.call('HKEYS', KEYS[5])) do found[#found + 1] = string.match(binding, '\t(.*)$') end
  return found
end

local function dead_letters()
  local found = {}
  for _, queue in ipairs(redis.call('ZRANGE', KEYS[6], 0, -1)) do
    local number = redis.call('XLEN', string.format(ARGV[3], queue))
    if number > 0 then found[queue] = number end
  end
  return found
end

local announced = redis.call('ZRANGE', KEYS[4], -1, -1, 'WITHSCORES')
return cjson.encode({
  at_ms = now,
  jobs = jobs(),
  task_queues = list(task_queues()),
  dead_letters = dead_letters(),
  secrets = secrets(),
  versions = list(redis.call('ZRANGE', KEYS[3], string.format('%.0f', now - ARGV[2]), '+inf', 'BYSCORE')),
  silent_ms = now - (announced[2] or 0),
  hour = points(minute - 59 - first, 60, 1),
  day = points(0, WINDOWS, WIDTH),
})
