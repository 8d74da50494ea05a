<?php
// PHP runs this once, when lsphp starts (opcache.preload). With the normaliser compiled already, PHP does not
// open it for a request, and so an open_basedir that a .user.ini sets cannot shut it out.
try {
    opcache_compile_file('@NORMALISER@');
} catch (Error) {
    // The site has disabled the function: then its open_basedir, if it has one, must let the file be opened.
}
