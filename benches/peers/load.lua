-- One caller a thread, each with one connection: `wrk -t16 -c16 -s load.lua`. The file that PEERS_LOAD names
-- returns either `requests`, which are sent as they are, `patient` or not, or `refresh`: how a token is presented, and a token
-- for each caller. Each refresh presents the token that the last one was answered with.
local load = dofile(os.getenv("PEERS_LOAD"))

local started = 0
function setup(thread)
   thread:set("number", started)
   started = started + 1
end

local turn = 0
local function send()
   -- Each caller has requests of its own: as many callers and users as there are, one user each.
   local chosen = (number + turn * load.callers) % #load.requests
   turn = turn + 1
   return load.requests[chosen + 1]
end

local token
local function refresh()
   local new = load.refresh
   token = token or new.tokens[number + 1]
   local escaped = token:gsub("[^%w%-._~]", function(c) return ("%%%02X"):format(c:byte()) end)
   local headers = {}
   for name, value in pairs(new.headers) do
      headers[name] = value:gsub("{token}", token)
   end
   return wrk.format("POST", new.path, headers, (new.body:gsub("{token}", (escaped:gsub("%%", "%%%%")))))
end

local function keep(status, _, body)
   if status == 200 then
      token = body:match('"' .. load.refresh.member .. '"%s*:%s*"([^"]+)"') or token
   end
end

if load.refresh then
   request, response = refresh, keep
elseif load.patient then
   -- Who is told to come back later does so after a second.
   local refused = false
   request = send
   response = function(status) refused = status == 503 end
   delay = function() return refused and 1000 or 0 end
else
   -- Without `response` wrk reads no more of an answer than it must.
   request = send
end

function done(summary, latency)
   local errors = summary.errors
   io.write(("RESULT %d %d %d %.3f %.3f\n"):format(
      summary.requests, errors.status, summary.duration,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000))
   if errors.connect + errors.read + errors.write + errors.timeout > 0 then
      io.write(("BROKEN %d connect, %d read, %d write, %d timeout\n"):format(
         errors.connect, errors.read, errors.write, errors.timeout))
   end
end
