-- Reads the next entries of a fanout exchange's stream, and counts those trimmed before they were read.
--
-- KEYS: stream, positions of the queue.
-- ARGV: exchange, id and ordinal of the last entry read, maximum number of entries, time to live of messages (ms) or ''.
-- Returns {missed, ordinal and id of the last entry read now, (id, payload)...}.

expect('stream', KEYS[1])
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. '/' .. ARGV[3]) end
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', ARGV[4])
if #entries == 0 then return {0, ARGV[3], ARGV[2]} end

local facts, info = {}, redis.call('XINFO', 'STREAM', KEYS[1])
for index = 1, #info, 2 do facts[info[index]] = info[index + 1] end
local ordinal = ARGV[3] + 1
if facts['first-entry'][1] == entries[1][1] then ordinal = facts['entries-added'] - facts['length'] + 1 end
local answer = {math.max(ordinal - ARGV[3] - 1, 0), string.format('%.0f', ordinal + #entries - 1), entries[#entries][1]}

local oldest = 0
if ARGV[5] ~= '' then
  local clock = redis.call('TIME')
  oldest = clock[1] * 1000 + math.floor(clock[2] / 1000) - ARGV[5]
end
for _, entry in ipairs(entries) do
  if tonumber(string.match(entry[1], '^%d+')) >= oldest then
    answer[#answer + 1], answer[#answer + 2] = entry[1], read_fields(entry[2]) or ''
  end
end
return answer
