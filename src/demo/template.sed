# examples/apache.conf.in as a C string, a line for a line.
s/[\\"]/\\&/g
s/.*/"&\\n"/
1i extern const char demo_apache_template[]; const char demo_apache_template[] =
$a ;
