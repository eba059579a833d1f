-- In front of every script: a key that holds another type than the script keeps there must stop it before it writes anything.

local known_types = {}

-- Raises WRONGTYPE unless *key* holds *kind*, or nothing.
local function expect(kind, key)
  local found = known_types[key]
  if not found then
    found = redis.call('TYPE', key).ok
    known_types[key] = found
  end
  if found ~= kind and found ~= 'none' then
    error({err = 'WRONGTYPE ' .. key .. ' holds a ' .. found .. ' where a ' .. kind .. ' is kept'})
  end
end

-- The same of KEYS[first] to KEYS[last].
local function expect_keys(kind, first, last)
  for index = first, last do expect(kind, KEYS[index]) end
end
