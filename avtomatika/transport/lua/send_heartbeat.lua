-- Records that the server and a consumer are alive.    KEYS: beat.    ARGV: lease (ms).

beat(KEYS[1], tonumber(ARGV[1]))
return 'OK'
