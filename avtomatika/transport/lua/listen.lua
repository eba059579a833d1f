-- Reads on in the stream of a fanout exchange, and tells of what fell out of it before it was read.
--
-- KEYS: stream, places of the queue.    ARGV: exchange, id and ordinal of the last entry read, how many at most.
-- Answers {missed, ordinal of the last entry below, (id, payload)...}.

redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. '/' .. ARGV[3])
local entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[2], '+', 'COUNT', ARGV[4])
if #entries == 0 then return {0, ARGV[3]} end

local facts, info = {}, redis.call('XINFO', 'STREAM', KEYS[1])
for index = 1, #info, 2 do facts[info[index]] = info[index + 1] end
local ordinal = ARGV[3] + 1
if facts['first-entry'][1] == entries[1][1] then ordinal = facts['entries-added'] - facts['length'] + 1 end
local answer = {math.max(ordinal - ARGV[3] - 1, 0), string.format('%.0f', ordinal + #entries - 1)}
for index, entry in ipairs(entries) do
  answer[1 + 2 * index], answer[2 + 2 * index] = entry[1], read_fields(entry[2]) or ''
end
return answer
