/* The command line other processes see: `lsphp`, and during a request `lsphp:/path/of/the/script.php`. */
#ifndef TITLE_H
#define TITLE_H

/* Erases the arguments; call it after they were read. */
void title_init(int argc, char **argv);
void title_show(const char *script);
void title_clear(void);

#endif
