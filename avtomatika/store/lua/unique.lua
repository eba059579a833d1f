-- Jobs with the same unique key: a list of the ids of the unfinished ones. The first may run; the others start in turn.

-- Removes a job from the list *line*, and arms the start of the next one if it was the first.
local function leave_line(line, id, prefix, timers, messages)
  local first = redis.pcall('LINDEX', line, 0)
  if type(first) ~= 'string' then return end
  redis.call('LREM', line, 1, id)
  local following = first == id and redis.call('LINDEX', line, 0)
  local start = following and redis.pcall('HGET', prefix .. following, 'start')
  if type(start) ~= 'string' then return end
  local due, name, message = string.match(start, '^(%S+) (%S+) (.*)$')
  redis.call('ZADD', timers, due, name)
  redis.call('HSET', messages, name, message)
  redis.call('HDEL', prefix .. following, 'start')
end

-- Returns the unfinished jobs in *line*. Those that ended without leaving it, on a server that lost data, are removed.
local function unfinished_in(line, prefix, timers, messages)
  expect('list', line)
  for _, id in ipairs(redis.call('LRANGE', line, 0, -1)) do
    local job = redis.call('HMGET', prefix .. id, 'v', 'final')
    if not job[1] or job[2] then leave_line(line, id, prefix, timers, messages) end
  end
  return redis.call('LRANGE', line, 0, -1)
end
