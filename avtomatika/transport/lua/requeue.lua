-- Moves entries held by this consumer to the tail of their streams, keeping their delivery counts. If this delivery does not count, a
-- queue in turns also keeps their age ('o').
--
-- KEYS: the stream of each entry.    ARGV: consumer, 1 to count this delivery or 0, then the entries.
-- Returns the number requeued.

local back = 0
for index, stream in ipairs(KEYS) do
  local id = ARGV[2 + index]
  local pending = redis.pcall('XPENDING', stream, 'avt', id, id, 1, ARGV[1])
  if not pending.err and pending[1] then
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if entry then
      local payload, group, earlier, expires, origin = read_fields(entry[2])
      local fields = {'p', payload or ''}
      if group then fields[#fields + 1], fields[#fields + 2] = 'g', group end
      if expires then fields[#fields + 1], fields[#fields + 2] = 'x', string.format('%.0f', expires) end
      earlier = earlier + pending[1][4] - 1 + ARGV[2]
      if earlier > 0 then fields[#fields + 1], fields[#fields + 2] = 'n', string.format('%.0f', earlier) end
      if ARGV[2] == '0' then fields[#fields + 1], fields[#fields + 2] = 'o', origin or id end
      redis.call('XADD', stream, '*', unpack(fields))
      back = back + 1
    end
    finish(stream, {id})
  end
end
return back
