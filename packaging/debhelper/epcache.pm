#!/usr/bin/perl
# What `dh --with epcache`, or a build dependency on dh-sequence-epcache, adds to a package's build.
# It is installed as Debian/Debhelper/Sequence/epcache.pm in Perl's directory for modules.

use warnings;
use strict;
use Debian::Debhelper::Dh_Lib;

# After everything that installs, moves or renames metadata directories (dh_python3 does), and after
# dh_fixperms: what not everybody may read gets no mirror file. Before dh_md5sums, which lists the files.
insert_after("dh_fixperms", "dh_epcache");

1
