-- The turn of a worker is over: it was chosen.    KEYS: worker, count of turns.    Answers 0 for one that is not known.

expect('hash', KEYS[1])
expect('string', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'turn', redis.call('INCR', KEYS[2]))
redis.call('HINCRBY', KEYS[1], 'routed', 1)
return 1
