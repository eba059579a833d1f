-- Tells that the server and somebody who consumes are alive.    KEYS: beat.    ARGV: lease (ms).

beat(KEYS[1], tonumber(ARGV[1]))
return 'OK'
