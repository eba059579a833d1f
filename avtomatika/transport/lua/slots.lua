-- Shared: slots of limits, and the groups of messages that wait for them in queues in turns (trait 'w').
--
-- Messages with the same fairness key and limits are one group. Names in members are separated by NUL. Keys of a queue start like
--       its streams: 'waiting' <key> <limits> <order> <level> <id> <holder>; 'ready' <key> <order of the group's first> <limits>;
--       'turns' key -> virtual start; 'finish' key -> virtual finish; 'stopped' <limit> <virtual start> <key> <limits>;
--       'held' <level><id> -> <prefix> <holder> <limit>... of a message that has slots. For all queues: 'flow:holders'
--       <limit> <holder> <tag>; 'flow:stopped' <limit> <queue>; 'flow:due' limit -> ms of its next token.

-- Returns the first *count* members that start with *name* and NUL.
local function members(key, name, count)
  return redis.call('ZRANGEBYLEX', key, '[' .. name .. '\0', '(' .. name .. '\1', 'LIMIT', 0, count or -1)
end

-- Returns the order of a waiting message.
local function order_of(member)
  return string.match(member, '^[^%z]*%z[^%z]*%z([^%z]*)')
end

-- Returns the virtual time: the start of the next turn, or the last finish.
local function virtual_time(base)
  return redis.call('ZRANGE', base .. 'turns', 0, 0, 'WITHSCORES')[2]
    or redis.call('ZRANGE', base .. 'finish', -1, -1, 'WITHSCORES')[2] or '0'
end

-- Lets the group of *key* and *limits* take turns; returns false if none of its messages waits.
local function make_ready(base, key, limits)
  local first = members(base .. 'waiting', key .. '\0' .. limits, 1)[1]
  if not first then return false end
  redis.call('ZADD', base .. 'ready', 0, key .. '\0' .. order_of(first) .. '\0' .. limits)
  local start, finish = virtual_time(base), redis.call('ZSCORE', base .. 'finish', key)
  if finish and tonumber(finish) > tonumber(start) then start = finish end
  redis.call('ZADD', base .. 'turns', 'NX', start, key)
  return true
end

-- Lets the first group of *queue* that *limit* stops take turns; returns false if there is none.
local function wake_one(prefix, queue, limit)
  local base = prefix .. 'q:' .. queue .. ':'
  repeat
    local first = members(base .. 'stopped', limit, 1)[1]
    if not first then
      redis.call('ZREM', prefix .. 'flow:stopped', limit .. '\0' .. queue)
      return false
    end
    local key, limits = string.match(first, '^[^%z]*%z[^%z]*%z([^%z]*)%z(.*)$')
    local is_ready = make_ready(base, key, limits)
    redis.call('ZREM', base .. 'stopped', first)
  until is_ready
  return true
end

-- The same in each queue; the next group follows when this one is admitted or stopped by another limit. Returns whether any queue
-- waited for *limit*.
local function wake(prefix, limit)
  local waiting = members(prefix .. 'flow:stopped', limit)
  for _, member in ipairs(waiting) do wake_one(prefix, string.sub(member, #limit + 2), limit) end
  return #waiting > 0
end

local function ring(prefix)
  redis.pcall('XADD', prefix .. 'bell', 'MAXLEN', 1, '*', 'slots', 'free')
end

local function hold(prefix, limit, holder, stream, id)
  redis.call('ZADD', prefix .. 'flow:holders', 0, limit .. '\0' .. holder .. '\0' .. stream .. '/' .. id)
end

-- Releases the slots of entries that leave *stream*.
local function release(stream, entries)
  local held, level = string.sub(stream, 1, -2) .. 'held', string.sub(stream, -1)
  if kind_of(held) ~= 'hash' then return end
  for _, id in ipairs(entries) do
    local record = redis.call('HGET', held, level .. id)
    if record then
      redis.call('HDEL', held, level .. id)
      local prefix, holder, names = string.match(record, '^([^%z]*)%z([^%z]*)%z(.*)$')
      local is_awaited = false
      for limit in string.gmatch(names, '[^%z]+') do
        redis.call('ZREM', prefix .. 'flow:holders', limit .. '\0' .. holder .. '\0' .. stream .. '/' .. id)
        is_awaited = wake(prefix, limit) or is_awaited
      end
      if is_awaited then ring(prefix) end
    end
  end
end
