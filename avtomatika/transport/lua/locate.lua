-- Finds the message of a group in a queue: its position, or its consumer.
--
-- KEYS: streams, highest priority first.    ARGV: group, the last one of the message, maximum number of entries to inspect.
-- Returns {'WAITS', number of messages before it} | {'HELD', consumer, ms since its lease was renewed, deliveries} | {'ABSENT'}
--       | {'FAR', number of inspected entries}.

local looked, most = 0, tonumber(ARGV[2])

local function is_it(fields)
  for index = 1, #fields, 2 do
    if fields[index] == 'g' then return string.match(fields[index + 1], '%S*$') == ARGV[1] end
  end
  return false
end

for _, stream in ipairs(KEYS) do
  local pending = redis.pcall('XPENDING', stream, 'avt', '-', '+', most)
  for _, held in ipairs(pending.err and {} or pending) do
    looked = looked + 1
    if looked > most then return {'FAR', most} end
    local entry = redis.call('XRANGE', stream, held[1], held[1])[1]
    if entry and is_it(entry[2]) then return {'HELD', held[2], held[3], held[4]} end
  end
end

local before = 0
for _, stream in ipairs(KEYS) do
  local groups, last = redis.pcall('XINFO', 'GROUPS', stream), '-'
  for _, group in ipairs(groups.err and {} or groups) do
    if group[2] == 'avt' then last = '(' .. group[8] end
  end
  local left = redis.pcall('XRANGE', stream, last, '+', 'COUNT', most - looked + 1)
  for _, entry in ipairs(left.err and {} or left) do
    looked = looked + 1
    if looked > most then return {'FAR', most} end
    if is_it(entry[2]) then return {'WAITS', before} end
    before = before + 1
  end
end
return {'ABSENT'}
