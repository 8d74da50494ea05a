<?php
// What `cac-lsphp healthcheck --deep` asks for: the shortest way through PHP and back.
echo 'cac-lsphp ping: PHP ', PHP_VERSION, "\n";
