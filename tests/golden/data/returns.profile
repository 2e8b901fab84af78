testudo-profile 1
metric time
source x
object - /opt/app
function 0 - 10 2 f
returns 0 1 2 -22
edge 0 0 1
total 10
