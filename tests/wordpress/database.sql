CREATE DATABASE wordpress;
CREATE USER 'alice'@'%' IDENTIFIED BY 'secret';
GRANT ALL ON wordpress.* TO 'alice'@'%';
