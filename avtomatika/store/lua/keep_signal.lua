-- Keeps a signal with its job until the job takes it, and notifies the job if it waits for one. A repeated request with the
-- same key changes nothing.
--
-- KEYS: job, binding hash, stream of the message, history.
-- ARGV: signal (JSON), digest of the idempotency key ('' without), digest of the data, maximum number of kept signals, maximum
--       bytes of them, number of keys to remember, binding version, payload, history entry.
-- Returns {'OK' | 'GONE' | 'REFUSED' | 'OTHER_DATA' | 'FULL' | 'REROUTE', status}.

local job = redis.call('HMGET', KEYS[1], 'status', 'final', 'v', 'signals', 'signalled')
if not job[1] then return {'GONE', ''} end
local known, kept = {}, job[4] or ''
for key, data in string.gmatch(job[5] or '', '(%S+) (%S+)') do
  if key == ARGV[2] then return {data == ARGV[3] and 'OK' or 'OTHER_DATA', job[1]} end
  known[#known + 1] = key .. ' ' .. data
end
if job[2] == '1' then return {'REFUSED', job[1]} end
local _, count = string.gsub(kept, '\n', '\n')
if count >= tonumber(ARGV[4]) or #kept + #ARGV[1] >= tonumber(ARGV[5]) then return {'FULL', job[1]} end
if (redis.call('HGET', KEYS[2], ':version') or '') ~= ARGV[7] then return {'REROUTE', job[1]} end
expect('stream', KEYS[3])
expect('list', KEYS[4])
local clock = redis.call('TIME')
local now = string.format('%.0f', clock[1] * 1000 + math.floor(clock[2] / 1000))
-- The next version: a step that was decided without this signal is not committed.
local version = string.format('%.0f', job[3] + 1)
redis.call('HSET', KEYS[1], 'v', version, 'signals', kept .. ARGV[1] .. '\n')
if ARGV[2] ~= '' then
  known[#known + 1] = ARGV[2] .. ' ' .. ARGV[3]
  local first = math.max(1, #known - tonumber(ARGV[6]) + 1)
  redis.call('HSET', KEYS[1], 'signalled', table.concat(known, '\n', first))
end
redis.call('RPUSH', KEYS[4], version .. ' ' .. now .. ' ' .. ARGV[9])
if job[1] == 'waiting_for_signal' then redis.call('XADD', KEYS[3], '*', 'p', ARGV[8]) end
return {'OK', job[1]}
