-- Records the selection of a worker for a task.    KEYS: worker, count of selections.    Returns 0 for an unregistered one.

expect('hash', KEYS[1])
expect('string', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'turn', redis.call('INCR', KEYS[2]))
redis.call('HINCRBY', KEYS[1], 'routed', 1)
return 1
