-- Counts the messages of queues.
--
-- KEYS: of each queue: its streams, its delays, its dead letters.    ARGV: number of streams of each queue.
-- Returns for each queue {waiting, leased, delayed, dead, consumers, ms that the first message has waited}.

local clock, at = redis.call('TIME'), 1
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Returns a number, 0 for a key of another type.
local function count(command, key)
  local found = redis.pcall(command, key)
  return type(found) == 'number' and found or 0
end

-- Returns the numbers of consumers and of leased messages of a stream, and the id of the last one that was delivered.
local function group_of(stream)
  local groups = redis.pcall('XINFO', 'GROUPS', stream)
  for _, group in ipairs(groups.err and {} or groups) do
    if group[2] == 'avt' then return group[4], group[6], group[8] end
  end
  return 0, 0, nil
end

-- Returns the age of the first waiting message of *stream*. In a queue in turns, messages after it may be leased already.
local function waited_ms(stream, last, is_in_turns)
  local after, sent = not is_in_turns and last and '(' .. last or '-', now
  for _ = 1, 100 do
    local entries = redis.pcall('XRANGE', stream, after, '+', 'COUNT', 1)
    if entries.err or not entries[1] then return 0 end
    local id = entries[1][1]
    after, sent = '(' .. id, string.match(id, '^%d+')
    if not is_in_turns or not redis.call('XPENDING', stream, 'avt', id, id, 1)[1] then break end
  end
  return math.max(now - sent, 0)
end

-- A consumer of several streams counts once.
local function distinct(streams)
  local names, number = {}, 0
  for _, stream in ipairs(streams) do
    for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, 'avt')) do
      if not names[consumer[2]] then names[consumer[2]], number = true, number + 1 end
    end
  end
  return number
end

local function stats(streams)
  local all, leased, waited, consumers, consumed = 0, 0, 0, 0, {}
  local is_in_turns = count('ZCARD', string.sub(KEYS[at + streams], 1, -7) .. 'waiting') > 0
  for place = at, at + streams - 1 do
    local known, held, last = group_of(KEYS[place])
    all, leased = all + count('XLEN', KEYS[place]), leased + held
    waited = math.max(waited, waited_ms(KEYS[place], last, is_in_turns))
    consumers = known
    if known > 0 then consumed[#consumed + 1] = KEYS[place] end
  end
  at = at + streams + 2
  if #consumed > 0 and streams > 1 then consumers = distinct(consumed) end
  return {
    math.max(all - leased, 0), leased, count('ZCARD', KEYS[at - 2]), count('XLEN', KEYS[at - 1]), consumers, waited,
  }
end

local found = {}
for place, streams in ipairs(ARGV) do found[place] = stats(tonumber(streams)) end
return found
