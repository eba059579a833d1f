-- Moves one entry leased to this consumer to the dead letters and publishes its notification. Trims the dead letters by number
--       and age; they expire when none is added for the retention time.
--
-- KEYS: stream, dead letters, queues, queues with dead letters; with a notification its binding hash and streams.
-- ARGV: consumer, entry, reason, deliveries, error, queue, maximum number of dead letters, their retention (ms); with a
--       notification the version of the bindings ('' for the default exchange, which has none), the payload, and queue and
--       priority of each of its streams.
-- Returns OK | FULL (done, and the oldest dead letters were trimmed by number) | LOST | REROUTE.

if not is_leased(KEYS[1], ARGV[2], ARGV[1]) then return 'LOST' end
if #KEYS > 4 then
  if ARGV[9] ~= '' and (redis.call('HGET', KEYS[5], ':version') or '') ~= ARGV[9] then return 'REROUTE' end
  for index = 6, #KEYS do
    local traits = redis.call('HGET', KEYS[3], ARGV[2 * index - 1])
    if not traits or not string.find(traits, ARGV[2 * index], 1, true) then return 'REROUTE' end
    expect('stream', KEYS[index])
  end
end

expect('stream', KEYS[2])
expect('zset', KEYS[4])
local clock, answer = redis.call('TIME'), 'OK'
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local entry = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])[1]
if entry then
  local fields = entry[2]
  for index = #fields, 201, -1 do fields[index] = nil end  -- unpack() limits the size of a foreign entry
  local told = {
    'reason', ARGV[3], 'deliveries', ARGV[4], 'error', ARGV[5], 'at', string.format('%.0f', now), 'queue', ARGV[6]
  }
  for index = 1, #told do fields[#fields + 1] = told[index] end
  redis.call('XADD', KEYS[2], '*', unpack(fields))
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f', math.max(now - ARGV[8], 0)))
  if redis.call('XTRIM', KEYS[2], 'MAXLEN', ARGV[7]) > 0 then answer = 'FULL' end
  redis.call('PEXPIRE', KEYS[2], ARGV[8])
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', string.format('%.0f', now))
  redis.call('ZADD', KEYS[4], string.format('%.0f', now + ARGV[8]), ARGV[6])
end
for index = 6, #KEYS do redis.call('XADD', KEYS[index], '*', 'p', ARGV[10]) end
finish(KEYS[1], {ARGV[2]})
return answer
