# Regular expressions, hashes, sorting, formats, closures, objects, ties, eval and die, local, fork, pipes, sprintf, pack.
use strict;
use warnings;

my %count;
my $text = join ' ', map { "word" . ($_ * 7919 % 97) . ($_ % 3 ? '' : '-x') } 1 .. 3000;
$count{$1}++ while $text =~ /(\w+)(?:-(x))?/g;
for my $word ((sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9]) { printf "%-10s %5d %05.1f%%\n", $word, $count{$word}, 100 * $count{$word} / 3000 }
(my $changed = $text) =~ s/word(\d+)/"<" . ($1 ** 2 % 101) . ">"/ge;
print substr($changed, 0, 80), "\n", length $changed, "\n";
print join('|', 'a1b22c333' =~ /([a-z])(\d+)/g), ' ', join(',', split /\s*[,;]\s*/, 'x , y;z ,w'), ' ', ($text =~ tr/0-9//), "\n";
print "balanced: $1\n" if '((a)(b(c)))d)' =~ /^(\((?:[^()]++|(?1))*\))/;
print "named: $+{year}/$+{month}\n" if '2024-05-17' =~ /(?<year>\d{4})-(?<month>\d\d)/;

package Account { 
    sub new { my ($class, %self) = @_; return bless {balance => 0, %self}, $class }
    sub add { my ($self, $n) = @_; die {code => 7, by => $n} if $n < 0; $self->{balance} += $n; return $self }
    sub DESTROY { $main::destroyed++ }
}
our $destroyed = 0;
for my $i (1 .. 100) { my $account = Account->new(owner => $i); $account->add($_) for 1 .. $i }
my $account = Account->new->add(5)->add(6);
eval { $account->add(-1); 1 } or print "died with $@->{code} $@->{by}, balance $account->{balance}, destroyed $destroyed\n";
eval { eval { die "inner\n" }; print "caught $@"; die "outer\n" };
print "caught $@";
eval { my $zero = 0; my $x = 1 / $zero }; print $@ =~ /division by zero/ ? "division caught\n" : "no\n";
print eval("2 ** 10 + " . join('+', 1 .. 10)), ' ', (defined eval 'syntax error here(' ? 1 : 'undef'), "\n";

package Doubler { sub TIESCALAR { my $v = 0; bless \$v } sub FETCH { 2 * ${$_[0]} } sub STORE { ${$_[0]} = $_[1] } }
package UpperHash { require Tie::Hash; our @ISA = ('Tie::StdHash'); sub STORE { $_[0]{uc $_[1]} = $_[2] } }
package main;
tie my $doubled, 'Doubler'; $doubled = 21; print "$doubled\n";
tie my %upper, 'UpperHash'; $upper{$_} = length for qw(one three five); print join(',', map { "$_=$upper{$_}" } sort keys %upper), "\n";

my @closures = map { my $n = $_; sub { $n += shift } } 1 .. 5;
$_->(10) for @closures; print join(' ', map { $_->(1) } @closures), "\n";
sub ackermann { my ($m, $n) = @_; no warnings 'recursion'; return $m == 0 ? $n + 1 : $n == 0 ? ackermann($m - 1, 1) : ackermann($m - 1, ackermann($m, $n - 1)) }
print ackermann(2, 9), "\n";
our $global = 'outer'; sub show { return $global } sub inner { local $global = 'inner'; return show() } print inner(), show(), "\n";
print sprintf('%s %d %5.2f %e %g %x %o %b %c %% %-6s| %06d %+d %v d', 'str', 42.9, 3.14159, 12345.678, 1e-5, 255, 8, 5, 65, 'left', 77, 5, '1.22.333'), "\n";
print unpack('H*', pack('NnCa5w', 305419896, 4660, 255, 'abc', 300)), ' ', join(',', unpack('(A2)*', 'aabbcc')), ' ', crypt_free('text'), "\n";
sub crypt_free { my $sum = 0; $sum = ($sum * 33 + ord) % 4294967296 for split //, shift; return $sum }
my @sorted = sort { $a->[1] <=> $b->[1] or $a->[0] cmp $b->[0] } map { ["k$_", $_ * 17 % 29] } 1 .. 200;
print join(' ', map { $_->[0] } @sorted[0 .. 15]), "\n";
my %deep; $deep{$_ % 5}{$_ % 7}[$_ % 3] .= $_ for 1 .. 300; print length($deep{3}{2}[1]), ' ', scalar(keys %{$deep{4}}), ' ', join(',', map { ref } \%deep, [], sub {}, \1, qr/x/), "\n";
print "wide: ", join(' ', map { sprintf 'U+%04X', ord } split //, "\x{e4}\x{20ac}\x{1f600}"), ' ', lc("\x{c4}B"), "\n" =~ s/\x{e4}/ae/r;

$| = 1;
pipe(my $reader, my $writer) or die;
for my $i (1 .. 4) {
    my $pid = fork // die 'fork';
    if ($pid == 0) { close $reader; my $sum = 0; $sum += $_ * $i for 1 .. 5000; syswrite $writer, "child $i sum $sum\n"; close $writer; exit $i + 10 }
    waitpid $pid, 0;
    print 'exit ', $? >> 8, "\n";
}
close $writer; print while <$reader>;
print `echo from a shell; exit 3`, $? >> 8, "\n";
open(my $sorted, '-|', 'sort', '-r', $0 =~ s/mixed\.pl$/list.txt/r) or die; my @lines = <$sorted>; close $sorted; print scalar(@lines), " $lines[0]";
local $SIG{USR1} = sub { print "signal $_[0]\n" }; kill USR1 => $$; 
local $SIG{__WARN__} = sub { print "warned: $_[0]" }; warn "careful\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; 1 while 1 }; print $@;
open my $out, '>', 'perl-out.txt' or die; format $out =
@<<<<<<<< @>>>>> @##.##
$main::name, $main::number, $main::real
.
our ($name, $number, $real); ($name, $number, $real) = ("row$_", $_ * 3, $_ / 7), write $out for 1 .. 50; close $out;
print STDERR "to standard error\n";
END { print "end\n"; $? = 9 }
die "dies at the end\n";
